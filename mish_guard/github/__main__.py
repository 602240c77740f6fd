"""`python3 ci/github.py COMMAND`: see `--help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mish_guard.errors import ExitCode, GuardError, UsageError
from mish_guard.github import announce, comment, hardware, numbers, overall, proposal, settings, words, workflow


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except GuardError as error:
        workflow.annotate(workflow.Annotation("error", "mish-guard", str(error)))
        print(f"github: {error}", file=sys.stderr)
        return int(error.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="github", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    announced = commands.add_parser("announce", help="tell GitHub what a gate run left in FOLDER")
    announced.add_argument("folder", type=Path)
    announced.set_defaults(run=lambda options: announce.announce(options.folder))
    for name, run, text in (
        ("aggregate", _aggregate, "one verdict of several runs, and its exit code; NEEDS holds GitHub's needs"),
        ("check", _check, "the same as a check on COMMIT of GITHUB_REPOSITORY; CHIPS holds the list of the Macs"),
    ):
        several = commands.add_parser(name, help=text)
        several.add_argument("--reports", type=Path, required=True, help="folder with one folder for each run")
        several.add_argument("--expect", nargs="*", default=[], help="names of the runs there must be")
        several.add_argument("--base-court", choices=("true", "false"), default="false", help="whether one must be")
        several.add_argument("--out", type=Path, help="folder for verdict.json")
        several.set_defaults(run=run)
    commented = commands.add_parser("comment", help="comment VERDICT on the pull request of GITHUB_EVENT_PATH")
    commented.add_argument("verdict", type=Path)
    commented.set_defaults(run=_comment)
    proposed = commands.add_parser("propose", help="open a pull request with baselines")
    proposed.add_argument("folder", type=Path, help="the baselines that were measured, in a folder of their own")
    proposed.set_defaults(run=lambda options: proposal.propose(options.folder, Path.cwd()))
    set_up = commands.add_parser("settings", help="read the settings of GITHUB_REPOSITORY and say what is missing")
    set_up.set_defaults(run=lambda _: settings.check(workflow.variable("GITHUB_REPOSITORY")))
    requested = commands.add_parser("request", help="check what the physical Macs are asked to judge")
    requested.set_defaults(run=lambda _: hardware.request())
    return parser


def _aggregate(options: argparse.Namespace) -> ExitCode:
    judged = _gathered(options)
    workflow.summarize("\n".join(words.table(judged)) + "\n")
    level = "notice" if judged.exit_code is ExitCode.PASS else "error"
    workflow.annotate(workflow.Annotation(level, "mish-guard", judged.headline))
    workflow.output(verdict=judged.verdict, exit_code=int(judged.exit_code))
    print(judged.headline)
    return judged.exit_code


def _check(options: argparse.Namespace) -> ExitCode:
    options.expect += [f"{hardware.CHECK}-{chip}" for chip in _json(os.environ.get("CHIPS") or "[]", "CHIPS")]
    judged = _gathered(options)
    hardware.write_check(
        judged,
        repository=workflow.variable("GITHUB_REPOSITORY"),
        commit=workflow.variable("COMMIT"),
        url=workflow.run_url(),
    )
    print(judged.headline)
    return judged.exit_code


def _gathered(options: argparse.Namespace) -> overall.Overall:
    has_base = options.base_court == "true"
    judged = overall.gather(
        _json(workflow.variable("NEEDS"), "NEEDS"),
        options.reports,
        [*options.expect, *([numbers.BASE_COURT] if has_base else [])],
        may_be_skipped=() if has_base else ("base-court",),
    )
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / comment.VERDICT).write_text(json.dumps(judged.to_json(), sort_keys=True, indent=1) + "\n")
    return judged


def _comment(options: argparse.Namespace) -> ExitCode:
    return comment.comment(numbers.read(Path(workflow.variable("GITHUB_EVENT_PATH"))), options.verdict)


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        msg = f"{name} is not JSON: {error}. Set it as the workflow does."
        raise UsageError(msg) from error


if __name__ == "__main__":
    sys.exit(main())
