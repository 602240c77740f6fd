"""The command line: options here, work in `commands`, every ending mapped to an exit code.

Heavy imports wait until a command needs them, so that `--help` and `compare` never load torch.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mish_guard import __version__
from mish_guard.errors import ExitCode, GuardError, UsageError
from mish_guard.files import printable
from mish_guard.report.formats import Format

if TYPE_CHECKING:
    from mish_guard.matrix.order import Order

_F = TypeVar("_F", bound=Callable[..., object])

OUT = Path("mish-guard-out")
_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code and raises nothing."""
    try:
        with _polite_signals():
            code = _ended(arguments)
    except KeyboardInterrupt:
        # It came while the ending was under way: an error was being told, or the signals were given back.
        code = ExitCode.INTERRUPTED
    # An interruption of a text that was being evaluated, as dataclasses do when they are imported, is remembered by
    # CPython, caught or not: `python -m` would end by SIGINT in spite of our code. Evaluating another one forgets it.
    eval("0")  # noqa: S307
    return code


def _ended(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except GuardError as error:
        return _complain(str(error), error.exit_code)
    except OSError as error:
        return _no_output(error, given)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        return _complain("Interrupted.", ExitCode.INTERRUPTED)
    except SystemExit:
        # How click ends where whoever read the report has left; its status 1 would mean a crash.
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it was, the user gets one line and a report
        return _crash(error, given)


def _run(given: list[str]) -> int:
    if sys.stdout is None:
        msg = "Standard output is closed: there is nobody to tell."
        raise UsageError(msg)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character gets the rest of the line
    code = int(cli.main(given, prog_name="mish-guard", standalone_mode=False) or ExitCode.PASS)
    sys.stdout.flush()
    return code


def _no_output(error: OSError, given: Sequence[str]) -> ExitCode:
    """Files of ours are opened in one place, which tells of them; an error without a name is standard output's."""
    if error.filename is not None:
        return _crash(error, given)
    if isinstance(error, BrokenPipeError):
        return _forget_output(ExitCode.INTERRUPTED)
    _complain(f"Standard output cannot be written: {error.strerror or error}.", ExitCode.USAGE)
    return _forget_output(ExitCode.USAGE)


def _forget_output(exit_code: ExitCode) -> ExitCode:
    """Point standard output at nothing, so that the interpreter does not stumble over it again when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
    return exit_code


def _crash(error: Exception, given: Sequence[str]) -> ExitCode:
    from mish_guard.commands import crash

    path = crash.write(error, given, Path.cwd())
    where = "no report could be written" if path is None else f"the report is in {path}"
    return _complain(f"{type(error).__name__}: {error}. This is a bug; {where}.", ExitCode.CRASH)


@contextlib.contextmanager
def _polite_signals() -> Iterator[None]:
    """A polite request to end, and a terminal that closes, are interruptions like Ctrl-C."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _complain(message: str, exit_code: ExitCode) -> ExitCode:
    click.secho(f"mish-guard: {printable(message)}", fg="red", err=True)
    return exit_code


def _options(*decorators: Callable[[_F], _F]) -> Callable[[_F], _F]:
    def apply(function: _F) -> _F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def _complete(what: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What a shell offers for an option; the names are looked up when it asks, without torch."""

    def offer(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
        del context, parameter
        from mish_guard.commands import cells

        return [name for name in cells.known(what) if name.startswith(typed)]

    return offer


class _Named(click.Option):
    """An option whose help ends with the names that it takes; they are looked up when somebody reads it."""

    def __init__(self, declared: Sequence[str], *, names: str, **options: Any) -> None:
        super().__init__(declared, shell_complete=_complete(names), **options)
        self._names = names
        self._said = self.help or ""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from mish_guard.commands import cells

        self.help = f"{self._said} One of: {', '.join(cells.known(self._names))}."
        return super().get_help_record(ctx)


_lowering = click.option(
    "--lowering",
    default="as-is",
    show_default=True,
    cls=_Named,
    names="lowerings",
    help="Convert mish through this lowering; as-is: the candidate's.",
)
_profile = click.option(
    "--profile",
    "profiles",
    multiple=True,
    cls=_Named,
    names="profiles",
    help="Emulator profile; repeat for several. [all]",
)
_option = click.option(
    "--profile",
    "profiles",
    multiple=True,
    cls=_Named,
    names="options",
    help="Emulator profile, or cpu-fp32; repeat for several. [all of the emulator]",
)
_place = click.option(
    "--profile",
    "profiles",
    multiple=True,
    envvar="MISH_GUARD_PROFILE",
    cls=_Named,
    names="places",
    help="Place: emulator profile or compute unit; repeat for several. [all that can be used]",
)
_out = click.option(
    "--out", type=_DIRECTORY, default=OUT, show_default=True, envvar="MISH_GUARD_OUT", help="Folder for results."
)
_baselines = click.option(
    "--baselines", type=_DIRECTORY, envvar="MISH_GUARD_BASELINES", help="Folder of baselines. [those in the package]"
)
_base = click.option(
    "--base-baselines",
    "base",
    type=_DIRECTORY,
    envvar="MISH_GUARD_BASE_BASELINES",
    help="Baselines of the branch that a change is for: they count, --baselines only adds cells that they do not know.",
)
_matrix = click.option("--matrix", type=_FILE, envvar="MISH_GUARD_MATRIX", help="Matrix file. [the one in the package]")


_judged_format = click.option(
    "--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True
)
_format = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
_paged_format = click.option(
    "--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True
)
_html = click.option("--html", is_flag=True, help="One page, self-contained: the same as --format html.")
_verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=lambda context, _, value: context.find_root().meta.__setitem__("verbose", value),
    help="List every finding and every known gap.",
)
_measuring = _options(
    click.option(
        "--engine",
        type=click.Choice(["auto", "emulator", "coreml"]),
        default="auto",
        show_default=True,
        envvar="MISH_GUARD_ENGINE",
        help="Engine. auto: Core ML and the emulator on a Mac, the emulator elsewhere.",
    ),
    _place,
    _lowering,
    _matrix,
    click.option(
        "--only",
        envvar="MISH_GUARD_ONLY",
        shell_complete=_complete("cells"),
        help="Measure only cells that match this glob, and the controls; never green as a whole.",
    ),
    click.option("--controls", type=_DIRECTORY, help="Folder of the stored controls. [those in the package]"),
    click.option(
        "--candidate",
        type=click.Path(path_type=Path),
        envvar="MISH_GUARD_CANDIDATE",
        help="What is judged: a Python, or a folder that holds a coremltools. [the one next to mish-guard]",
    ),
    click.option(
        "--against",
        type=click.Path(path_type=Path),
        envvar="MISH_GUARD_AGAINST",
        help="Judge that the candidate is not worse than this one, which may be wrong itself.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing while measuring."),
    click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Conversions at a time."),
    click.option(
        "--conversion-seconds",
        "seconds",
        type=click.FloatRange(min=1),
        default=120.0,
        show_default=True,
        help="Limit of one conversion, in seconds.",
    ),
    _out,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mish-guard")
@click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colours; NO_COLOR is honoured."
)
@click.pass_context
def cli(context: click.Context, color: str) -> None:
    """Keep the softplus error of mish out of coremltools.

    Exit codes: 0 PASS, 1 crash, 2 usage or unreadable input, 10 FAIL, 11 cells lost or not comparable, 12 no
    baseline, 20 INCONCLUSIVE, 21 BROKEN, 130 interrupted.
    """
    no_color = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    context.color = {"always": True, "never": False}.get(color, False if no_color else None)


@cli.command()
@_measuring
@_baselines
@_base
@click.option(
    "--allow-unarmed",
    is_flag=True,
    envvar="MISH_GUARD_ALLOW_UNARMED",
    help="End with 0 instead of 20 where no Neural Engine is; the verdict stays INCONCLUSIVE.",
)
@click.option("--report", type=_DIRECTORY, envvar="MISH_GUARD_REPORT", help="Folder for the report in every form.")
@_judged_format
@_verbose
def gate(
    baselines: Path | None,
    base: Path | None,
    form: str,
    out: Path,
    report: Path | None,
    *,
    allow_unarmed: bool,
    **measuring: Any,
) -> int:
    """Measure the matrix, compare with the baselines, print the verdict, exit with its code."""
    from mish_guard.commands import gate as command
    from mish_guard.results import baseline

    return command.gate(
        _order(**measuring),
        baselines=baselines or baseline.SHIPPED,
        base=base,
        out=out,
        form=Format(form),
        allow_unarmed=allow_unarmed,
        report=report,
    )


@cli.command()
@_measuring
def run(out: Path, **measuring: Any) -> int:
    """Measure the matrix and write results.json; judge nothing."""
    from mish_guard.commands import gate as command

    return command.run(_order(**measuring), out=out)


@cli.command()
@click.argument("results", type=_FILE)
@_baselines
@_base
@_judged_format
@_verbose
def judge(results: Path, baselines: Path | None, base: Path | None, form: str) -> int:
    """Judge a RESULTS file that `run` or `gate` wrote; exits with the code of its verdict."""
    from mish_guard.commands import judge as command
    from mish_guard.results import baseline

    return command.judge(results, baselines=baselines or baseline.SHIPPED, base=base, form=Format(form))


@cli.command()
@click.argument("first", metavar="A", type=_FILE)
@click.argument("second", metavar="[B]", type=_FILE, required=False)
@_baselines
@_base
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown", "html", "svg"]), default="text")
@_verbose
def compare(first: Path, second: Path | None, baselines: Path | None, base: Path | None, form: str) -> int:
    """Lay A and B beside each other: results, baselines or *.obtained.json. Without B, judge A as `judge` does."""
    from mish_guard.commands import compare as command
    from mish_guard.commands import judge as judging
    from mish_guard.results import baseline

    if second is not None:
        return command.compare(first, second, form=Format(form))
    return judging.judge(first, baselines=baselines or baseline.SHIPPED, base=base, form=Format(form))


@cli.command()
@click.argument("results", type=_FILE)
@_baselines
@_base
@click.option("--text", "form", flag_value="text", help="As in a terminal, with every finding.")
@click.option("--md", "form", flag_value="markdown", help="Markdown for GitHub.")
@click.option("--html", "form", flag_value="html", default="html", show_default=True, help="One page, self-contained.")
@click.option("--sarif", "form", flag_value="sarif", help="SARIF 2.1.0 for code scanning.")
@click.option("--junit", "form", flag_value="junit", help="JUnit's XML, one case for each cell.")
@click.option("--svg", "form", flag_value="svg", help="The cliff as a picture.")
@click.option("--json", "form", flag_value="json", help="The object that gate --format json prints.")
@click.option("--out", type=_FILE, help="File to write. [standard output]")
def report(results: Path, baselines: Path | None, base: Path | None, form: str, out: Path | None) -> int:
    """Write the report of a RESULTS file in one form; exits with 0 whatever the verdict."""
    from mish_guard.commands import judge as command
    from mish_guard.results import baseline

    return command.report(results, baselines=baselines or baseline.SHIPPED, base=base, form=Format(form), out=out)


@cli.command()
@click.argument("pattern", metavar="[GLOB]", required=False)
@_place
@_matrix
def cells(pattern: str | None, profiles: Sequence[str], matrix: Path | None) -> int:
    """List the cells of the matrix whose names match GLOB."""
    from mish_guard.commands import cells as command

    return command.show(pattern, profiles, matrix)


@cli.command()
@click.argument("names", nargs=-1, shell_complete=_complete("lowerings"))
@_profile
@_paged_format
@_html
def lowerings(names: Sequence[str], profiles: Sequence[str], form: str, *, html: bool) -> int:
    """Measure every lowering (or NAMES) under every profile, all 65,536 inputs."""
    from mish_guard.commands import lowerings as command

    return command.show(names, _known(profiles), form=Format.HTML if html else Format(form))


@cli.command()
@click.argument("cell", shell_complete=_complete("cells"))
@click.option(
    "--lowering",
    cls=_Named,
    names="lowerings",
    help="Lowering to convert mish through. [that of the last run in --out, else as-is]",
)
@click.option("--x", type=float, help="Input to trace, in half precision, or inf, -inf, nan. [where it is worst]")
@click.option("--candidate", type=click.Path(path_type=Path), help="Python, or folder of coremltools, as for gate.")
@_baselines
@_matrix
@_out
def explain(
    cell: str,
    lowering: str | None,
    x: float | None,
    candidate: Path | None,
    baselines: Path | None,
    matrix: Path | None,
    out: Path,
) -> int:
    """Measure one CELL again and show every operation at the input where it goes wrong."""
    from mish_guard.commands import explain as command

    return command.show(
        cell, lowering=lowering, x=x, candidate=candidate, baselines=baselines, matrix_file=matrix, out=out
    )


@cli.command()
@_profile
@_format
@_verbose
def calibrate(profiles: Sequence[str], form: str) -> int:
    """Replay every public measurement of the Neural Engine that the emulator can express."""
    from mish_guard.commands import calibrate as command

    return command.show(_known(profiles), form=Format(form))


_model = click.argument("model", type=click.Path(path_type=Path))
_given = "FILE.npy, FILE.npz (by input name) or random:SEED (standard normal)."


@cli.command()
@_model
@click.option("--input", "given", help=f"Run it too, beside float64: {_given}")
@_option
@_paged_format
@_html
def scan(model: Path, given: str | None, profiles: Sequence[str], form: str, *, html: bool) -> int:
    """Say what of your own MODEL (.mlpackage or .mlmodel) is at risk on a Neural Engine, and what to do.

    Exit codes: 0 clean, 10 at risk, 20 not everything could be seen, 2 unreadable.
    """
    from mish_guard.commands import scan as command

    return command.show(model, _chosen(profiles), given=given, form=Format.HTML if html else Format(form))


@cli.command()
@_model
@click.option("--input", "given", required=True, help=_given)
@click.option(
    "--profile", cls=_Named, names="options", default="ane", show_default=True, help="Emulator profile, or cpu-fp32."
)
@click.option("--out", type=_FILE, default=Path("out.npz"), show_default=True, help="File for the outputs, by name.")
def predict(model: Path, given: str, profile: str, out: Path) -> int:
    """Predict with a saved MODEL (.mlpackage or .mlmodel) as a unit with the arithmetic of a profile would."""
    from mish_guard.commands import scan as command

    return command.predict(model, profile, given=given, out=out)


@cli.command()
@_measuring
@_baselines
@click.option("--reason", required=True, envvar="MISH_GUARD_REASON", help="Why the baselines change; stored with them.")
@click.option("--repeats", type=click.IntRange(min=2), default=3, show_default=True, help="Runs that must agree.")
@click.option("--allow-fewer-cells", is_flag=True, help="Store although cells of the old baseline are gone.")
def refresh(
    baselines: Path | None, out: Path, reason: str, repeats: int, allow_fewer_cells: bool, **measuring: Any
) -> int:
    """Measure new baselines; refuses a run that is over a ceiling, broken, incomplete or not repeatable."""
    from mish_guard.commands import refresh as command
    from mish_guard.results import baseline

    return command.refresh(
        _order(**measuring),
        baselines=baselines or baseline.SHIPPED,
        out=out,
        reason=reason,
        repeats=repeats,
        allow_fewer_cells=allow_fewer_cells,
    )


@cli.command("diff-baselines")
@click.argument("before", type=_DIRECTORY)
@click.argument("after", type=_DIRECTORY)
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
def diff_baselines(before: Path, after: Path, form: str) -> int:
    """Show what happened to the cells of two folders of baselines, BEFORE and AFTER; judge nothing."""
    from mish_guard.commands import diff_baselines as command

    return command.show(before, after, form=Format(form))


@cli.command()
@_place
@_format
def doctor(profiles: Sequence[str], form: str) -> int:
    """Examine the machine: what Core ML can do here, and what to repair.

    With --profile, only what those compute units need counts.
    """
    from mish_guard.commands import doctor as command

    return command.show(profiles, form=Format(form))


@cli.command()
@_matrix
@_out
@click.option("--candidate", type=click.Path(path_type=Path, exists=True), help="Python or folder with a coremltools.")
@_lowering
def measure(matrix: Path | None, out: Path, candidate: Path | None, lowering: str) -> int:
    """Measure this Mac on the CPU and the Neural Engine and leave one file to send, which names nobody."""
    from mish_guard.commands import measure as command
    from mish_guard.matrix.order import Order

    return command.measure(Order(matrix=matrix, candidate=candidate, lowering=lowering), out)


@cli.command()
@click.argument("file", type=_FILE)
@_baselines
@click.option("--reason", required=True, help="Who sent it, and where; stored with the figures.")
def store(file: Path, baselines: Path | None, reason: str) -> int:
    """Check the FILE that `measure` left on somebody's Mac, show what it says, and store its baselines."""
    from mish_guard.commands import measure as command
    from mish_guard.results import baseline

    return command.store(file, baselines=baselines or baseline.SHIPPED, reason=reason)


@cli.command()
@click.option("--out", type=_DIRECTORY, required=True, help="Folder for the patch, its test and the pages.")
@click.option("--lowering", cls=_Named, names="lowerings", help="Form to write. [the recommended one]")
@click.option(
    "--candidate",
    type=click.Path(path_type=Path),
    help="What is patched: a Python, or a folder that holds a coremltools. [the one next to mish-guard]",
)
def upstream(out: Path, lowering: str | None, candidate: Path | None) -> int:
    """Write the repair of mish for coremltools itself: a patch with a test that fails without it, and why."""
    from mish_guard.commands import upstream as command

    return command.write(out, lowering=lowering, candidate=candidate)


@cli.command("rebuild-controls")
@click.option("--reason", required=True, help="Why the controls change; stored with them.")
@click.option("--controls", type=_DIRECTORY, help="Folder to replace. [the one in the package]")
def rebuild_controls(reason: str, controls: Path | None) -> int:
    """Convert the stored control packages anew with a released coremltools."""
    from mish_guard import files
    from mish_guard.commands import rebuild_controls as command

    return command.rebuild(controls or files.DATA / "controls", reason=reason)


def _order(profiles: Sequence[str], controls: Path | None, **given: Any) -> Order:
    from mish_guard.matrix.order import CONTROLS, Order

    if controls is not None and not controls.is_dir():
        msg = f"There is no folder '{controls}' with controls."
        raise UsageError(msg)
    return Order(places=tuple(profiles), controls=controls or CONTROLS, **given)


def _chosen(names: Sequence[str]) -> tuple[str, ...]:
    """The profiles named, of all that a model can be run under; those of a gate if none is."""
    from mish_guard.engines.emulator import profiles

    return tuple(profiles.option(name).name for name in names) or tuple(profiles.PROFILES)


def _known(names: Sequence[str]) -> tuple[str, ...]:
    """The profiles named, or all; raises UsageError for an unknown one."""
    from mish_guard.engines.emulator import profiles

    return tuple(profiles.get(name).name for name in names) or tuple(profiles.PROFILES)
