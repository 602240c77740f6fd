"""The guardian of a run: a process that waits for the run's parent to end, and then ends what the run left behind.

Whatever kills the parent, the pipe to the guardian closes. Run as `python -I guardian.py MARK`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def watching(mark: str) -> Iterator[None]:
    """While inside, a guardian ends the processes that carry `mark` should this process die."""
    command = [sys.executable, "-I", "-m", "mish_guard.guardian", mark]
    with subprocess.Popen(  # noqa: S603 - our own module, no shell
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        start_new_session=True,
    ) as process:
        try:
            yield
        finally:
            process.kill()


def main(mark: str) -> None:
    """Wait until nobody holds the other end of stdin any more, then kill what carries `mark`."""
    sys.stdin.buffer.read()
    from mish_guard import processes

    processes.end_marked(mark)


if __name__ == "__main__":
    main(sys.argv[1])
