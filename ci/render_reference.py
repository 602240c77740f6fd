"""Write docs/reference.md from the command line itself: every command's help, exit codes, schemas.

python ci/render_reference.py            write the page
python ci/render_reference.py --check    exit 1 if the page is not what would be written
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from mish_guard import cli, files
from mish_guard.errors import ExitCode

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference.md"

_MEANINGS = {
    ExitCode.PASS: "PASS, or a command that judges nothing did its work",
    ExitCode.CRASH: "crash: a bug of mish-guard, with a report of it in a file",
    ExitCode.USAGE: "a mistake in the command, or a file that cannot be trusted",
    ExitCode.FAIL: "FAIL; of `scan`: at risk",
    ExitCode.LOST: "INCONCLUSIVE: cells lost, new or not comparable, or an operation that the emulator does not know",
    ExitCode.NO_BASELINE: "INCONCLUSIVE: no baseline",
    ExitCode.INCONCLUSIVE: "INCONCLUSIVE: nothing here could have shown the defect, or only a part was asked for",
    ExitCode.BROKEN: "BROKEN: the machine, the engine or the environment",
    ExitCode.INTERRUPTED: "interrupted",
}


def main(arguments: list[str], target: Path = TARGET) -> int:
    """Write or check the page; returns the exit code."""
    text = "\n".join(page()) + "\n"
    if "--check" in arguments:
        fresh = target.exists() and target.read_text(encoding="utf-8") == text
        print(f"{target.name} is fresh." if fresh else f"{target.name} is stale: run python ci/render_reference.py")
        return int(not fresh)
    files.write_atomically(target, text)
    print(f"Wrote {target.name}.")
    return 0


def page() -> Iterator[str]:
    """The lines of the page."""
    yield "# Reference"
    yield ""
    yield "Written by `python ci/render_reference.py` from the program itself. Words that need one have an entry in the"
    yield "[glossary](glossary.md)."
    yield from _exit_codes()
    yield from _commands()
    yield from _schemas()


def _exit_codes() -> Iterator[str]:
    yield from ("", "## Exit codes", "", "| code | meaning |", "|---|---|")
    yield from (f"| {int(code)} | {_MEANINGS[code]} |" for code in ExitCode)


def _commands() -> Iterator[str]:
    yield from ("", "## Commands", "")
    yield "Options that name an environment variable take their value from it where they are not given."
    for name, command in sorted(cli.cli.commands.items()):
        yield from ("", f"### mish-guard {name}", "", "```text", *_help(name, command), "```")


def _help(name: str, command: click.Command) -> Iterator[str]:
    """The help as printed, 100 columns wide, and the environment variables of its options."""
    context = click.Context(command, info_name=f"mish-guard {name}", max_content_width=100, terminal_width=100)
    yield from (line.rstrip() for line in command.get_help(context).splitlines())
    variables = [
        f"  {each.opts[-1]}  {each.envvar}" for each in command.params if isinstance(each, click.Option) and each.envvar
    ]
    if variables:
        yield from ("", "Environment:", *variables)


def _schemas() -> Iterator[str]:
    yield from ("", "## JSON schemas", "")
    yield "They are in the package, in `mish_guard/data/schemas`. A file of an older or a newer version is an error"
    yield "that says so."
    yield from ("", "| schema | version | of |", "|---|---|---|")
    for path in sorted((files.DATA / "schemas").glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        told = re.sub(r"\s+", " ", document.get("description") or document.get("title") or "").replace("|", "\\|")
        yield f"| `{path.name}` | {_version(document)} | {told} |"


def _version(document: dict[str, object]) -> str:
    found = re.search(r'"schema_version": \{"const": (\d+)\}', json.dumps(document))
    return found[1] if found else "none"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
