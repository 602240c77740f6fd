"""`doctor`: what this machine can do for the gate, and what to repair."""

from __future__ import annotations

import dataclasses
import json

import click

from mish_guard import doctor
from mish_guard.doctor import Outcome
from mish_guard.errors import ExitCode

_READY = {
    ExitCode.PASS: "READY: everything, the Neural Engine included",
    ExitCode.INCONCLUSIVE: "READY for everything but the Neural Engine",
    ExitCode.BROKEN: "BROKEN: Core ML cannot be used here; the emulator can (--engine emulator)",
}


def show(*, as_object: bool) -> ExitCode:
    """Examine the machine, print one line for each check and its fix; the exit code says what is ready."""
    checks = doctor.examine()
    code = doctor.exit_code(checks)
    if as_object:
        document = {"exit_code": int(code), "checks": [dataclasses.asdict(check) for check in checks]}
        click.echo(json.dumps(document, indent=1, allow_nan=False))
        return code
    click.echo(_READY[code])
    for check in checks:
        click.echo(f"{check.outcome.value:5}{check.name}: {check.detail}")
        if check.outcome is not Outcome.OK and check.fix:
            click.echo(f"       {check.fix}")
    failed = next((check.fix for check in checks if check.outcome is Outcome.FAIL and check.fix), None)
    click.echo(f"Next: {failed}" if failed else "Next: mish-guard gate --engine coreml")
    return code
