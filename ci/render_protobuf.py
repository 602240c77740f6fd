"""Write the description of Core ML's model format from the coremltools that is installed; --check: only compare.

    python ci/render_protobuf.py [--check]

The description is what protobuf calls a FileDescriptorSet: the messages of Model.proto and of all that it names.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from typing import Any

from mish_guard.engines.emulator.specification import DESCRIPTION


def _with_dependencies(file: Any, seen: set[str]) -> Iterator[Any]:
    if file.name not in seen:
        seen.add(file.name)
        for needed in file.dependencies:
            yield from _with_dependencies(needed, seen)
        yield file


def described() -> bytes:
    """The messages of the installed coremltools, dependencies first."""
    from coremltools.proto import Model_pb2
    from google.protobuf import descriptor_pb2

    found = descriptor_pb2.FileDescriptorSet()
    for file in _with_dependencies(Model_pb2.DESCRIPTOR, set()):
        file.CopyToProto(found.file.add())
    return bytes(found.SerializeToString(deterministic=True))


def main(arguments: list[str]) -> int:
    """Write or compare; returns 1 where the comparison fails."""
    wanted = described()
    if arguments != ["--check"]:
        DESCRIPTION.write_bytes(gzip.compress(wanted, mtime=0))
        return 0
    if gzip.decompress(DESCRIPTION.read_bytes()) == wanted:
        return 0
    sys.stderr.write(f"{DESCRIPTION.name} is not that of the installed coremltools: run python ci/render_protobuf.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
