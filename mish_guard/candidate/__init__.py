"""Build a coremltools tree with a patched mish converter, and prove that what is imported is what was built.

`pin` says which tree a checkout judges, `source` fetches it into a copy of our own, `patch` rewrites the converter,
`native` supplies the native libraries (`cache` keeps them), `wheel` packs, `venv` installs beside the running
environment, `proof` checks; `pipeline` is all of it in order. `locate` and `identify` say which tree is judged, built
here or not.
"""

from __future__ import annotations

from mish_guard.errors import ExitCode, GuardError


class BuildError(GuardError):
    """The tree could not be built, or what was built could not be proved."""

    exit_code = ExitCode.BROKEN
