"""`doctor`: what this machine can do for the gate, and what to repair."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import click

from mish_guard.engines import both
from mish_guard.engines.coreml import NEURAL_ENGINE, doctor
from mish_guard.engines.coreml.doctor import Outcome
from mish_guard.errors import ExitCode
from mish_guard.report.formats import Format

_READY = {
    ExitCode.PASS: "READY",
    ExitCode.INCONCLUSIVE: "READY for everything but the Neural Engine",
    ExitCode.BROKEN: "BROKEN: Core ML cannot be used here; the emulator can (--engine emulator)",
}

_NOTHING = "BROKEN: Core ML cannot be used here, and coremltools, which lacks a library, converts nothing to emulate"

_WHAT = {True: ": everything, the Neural Engine included", False: " for what was asked: no Neural Engine"}


def show(places: Sequence[str], *, form: Format) -> ExitCode:
    """Examine the machine, print one line for each check and its fix; the exit code says what is ready.

    Only what `places` need counts; none: all compute units. Raises UsageError for a place that there is not.
    """
    both.check(places)
    checks = doctor.examine()
    wanted = not places or NEURAL_ENGINE in places
    code = doctor.exit_code(checks, neural_engine=wanted)
    if form is Format.JSON:
        document = {"exit_code": int(code), "checks": [dataclasses.asdict(check) for check in checks]}
        click.echo(json.dumps(document, indent=1, allow_nan=False))
        return code
    lacking = [check.fix for check in checks if check.name in doctor.SAVING and check.outcome is Outcome.FAIL]
    click.echo((_NOTHING if lacking else _READY[code]) + (_WHAT[wanted] if code is ExitCode.PASS else ""))
    for check in checks:
        click.echo(f"{check.outcome.value:5}{check.name}: {check.detail}")
        if check.outcome is not Outcome.OK and check.fix:
            click.echo(f"       {check.fix}")
    failing = [*lacking, *(check.fix for check in checks if check.outcome is Outcome.FAIL)]
    repair = next(filter(None, failing), None)
    wants_repair = repair is not None and code is not ExitCode.PASS
    click.echo(f"Next: {repair}" if wants_repair else "Next: mish-guard gate --engine coreml")
    return code
