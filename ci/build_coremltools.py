"""Build coremltools from source with a patched mish converter, and prove what was built.

python ci/build_coremltools.py                                the tree of ci/coremltools.yml, as a wheel
python ci/build_coremltools.py dir:../coremltools --lowering as-is
python ci/build_coremltools.py sdist:9.1.dev1 --install       also into an environment; prints its Python

Downloads, wheels, environments and built native libraries stay in --out. A CI that wants to keep compiled libraries
keeps `build/native` under the key that --print-cache-key prints: it changes with native sources, Python, numpy,
compiler, flags, CMake and Xcode, and never with a Python source. Where nothing is compiled (a release, whose libraries
come from its wheel) the folder stays empty.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from mish_guard.candidate import pin, pipeline, source
from mish_guard.candidate.native import Mode
from mish_guard.errors import ExitCode, GuardError
from mish_guard.models import lowerings

ROOT = Path(__file__).resolve().parent.parent


@click.command()
@click.argument(
    "spelled", metavar="[git:URL@REF | dir:PATH | sdist:VERSION]", required=False, envvar="MISH_GUARD_COREMLTOOLS"
)
@click.option(
    "--lowering",
    envvar="MISH_GUARD_LOWERING",
    help="Lowering to patch in. [that of the pin; as-is for a tree that is named]",
)
@click.option(
    "--native",
    type=click.Choice([mode.value for mode in Mode]),
    envvar="MISH_GUARD_NATIVE",
    help="Native libraries. [those of the pin]",
)
@click.option(
    "--pin",
    "pin_file",
    type=click.Path(path_type=Path),
    envvar="MISH_GUARD_PIN",
    default=ROOT / "ci" / "coremltools.yml",
    hidden=True,
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build", help="Artefacts. [build/]"
)
@click.option("--install", is_flag=True, help="Install into an environment of its own, prove it, print its Python.")
@click.option("--print-diff", is_flag=True, help="Print the patch and build nothing.")
@click.option(
    "--print-cache-key",
    is_flag=True,
    help="Print the key of the native build, under which OUT/native keeps it, and build nothing.",
)
def main(
    spelled: str | None,
    lowering: str | None,
    native: str | None,
    pin_file: Path,
    out: Path,
    *,
    install: bool,
    print_diff: bool,
    print_cache_key: bool,
) -> None:
    """Build a coremltools tree; what is not given comes from ci/coremltools.yml."""
    try:
        pinned = pin.load(pin_file)
        if native:
            # A pinned release whose libraries shall be built is cloned: its source archive holds no native sources.
            pinned = dataclasses.replace(pinned, native=Mode(native))
        # An empty word is a mistake, such as a variable that nobody set, and must not stand for the pin.
        spec = pinned.source if spelled is None else source.parse(spelled)
        # Whoever names it: the published files of the pinned release are known.
        spec = dataclasses.replace(spec, sha256=pinned.sha256)
        # A tree that somebody names is judged as it is; only the pin says what is patched into the pinned one.
        unasked = pinned.lowering if spelled is None else lowerings.AS_IS
        chosen = unasked if lowering is None else lowering
        if print_cache_key:
            click.echo(pipeline.native_key(spec, out))
        elif print_diff:
            click.echo(pipeline.difference(spec, chosen, out), nl=False)
        else:
            build = pipeline.install if install else pipeline.wheel_of
            click.echo(build(spec, chosen, pinned.native, out, _say))
    except GuardError as error:
        click.secho(f"build_coremltools: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        click.secho(
            f"build_coremltools: {error}. Nothing was left half done; make room or choose --out.", fg="red", err=True
        )
        sys.exit(ExitCode.BROKEN)
    except KeyboardInterrupt:
        click.secho("build_coremltools: interrupted; nothing was left half done.", fg="red", err=True)
        sys.exit(ExitCode.INTERRUPTED)


def _say(line: str) -> None:
    click.echo(f"build_coremltools: {line}", err=True)


if __name__ == "__main__":
    main(standalone_mode=True)
