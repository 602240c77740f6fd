"""Exit codes and the errors that carry them.

Every way the program can end has one code in `ExitCode` and nowhere else. A Python crash exits 1 and
command-line parsers exit 2, so no verdict uses either number.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """How a command ends; the value is the process's exit status."""

    PASS = 0
    CRASH = 1
    USAGE = 2
    FAIL = 10
    LOST = 11
    NO_BASELINE = 12
    INCONCLUSIVE = 20
    BROKEN = 21
    INTERRUPTED = 130


class Verdict(str, enum.Enum):
    """What the gate says."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    BROKEN = "BROKEN"


class GuardError(Exception):
    """Something the user can act on: the message says what happened, what was expected and what to run."""

    exit_code = ExitCode.USAGE


class UsageError(GuardError):
    """An option, a configuration file or an argument that makes no sense."""


class UnreadableFileError(GuardError):
    """A results, baseline or matrix file that cannot be trusted: truncated, edited, too old or too new."""


class UnwritableFileError(GuardError):
    """A file or a folder that somebody asked for cannot be written."""


class OutdatedFileError(UnreadableFileError):
    """A file that an older mish-guard wrote: sound, but its figures mean something else now."""


class MissingBaselineError(GuardError):
    """There is no stored baseline to compare with."""

    exit_code = ExitCode.NO_BASELINE


class NotComparableError(GuardError):
    """The run lost cells, or measured something the baseline did not."""

    exit_code = ExitCode.LOST


class MachineError(GuardError):
    """The machine or the engine cannot produce evidence; the candidate is not to blame."""

    exit_code = ExitCode.BROKEN


class ModelError(MachineError):
    """The engine reports an error for this one model, while it loads it (`stage` "load") or predicts ("predict")."""

    def __init__(self, message: str, stage: str) -> None:
        super().__init__(message)
        self.stage = stage


class UnsupportedOpError(GuardError):
    """The emulator met an operation that it does not know; it never guesses."""

    exit_code = ExitCode.LOST


class EvaluationError(GuardError):
    """A model that contradicts itself: an operation cannot take its operands, or yields another shape than declared."""


class ConversionError(GuardError):
    """coremltools could not convert a model; the reason is the message."""

    exit_code = ExitCode.FAIL
