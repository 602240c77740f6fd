"""Build a coremltools tree with a patched mish converter, and prove that what is imported is what was built.

`source` fetches a tree into a copy of our own, `patch` rewrites the converter, `native` supplies the native libraries,
`wheel` packs, `environment` installs beside the running environment, `prove` checks; `pipeline` is all of it in order.
"""

from __future__ import annotations

from mish_guard.errors import ExitCode, GuardError


class BuildError(GuardError):
    """The tree could not be built, or what was built could not be proved."""

    exit_code = ExitCode.BROKEN
