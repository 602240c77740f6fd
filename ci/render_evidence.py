"""Write docs/evidence.md from mish_guard/data/evidence.yml, with what each profile makes of every fact.

python ci/render_evidence.py            write the file
python ci/render_evidence.py --check    exit 1 if the file is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from mish_guard import files
from mish_guard.engines.emulator import replay
from mish_guard.engines.emulator.profiles import PROFILES
from mish_guard.engines.emulator.replay import Fact, Outcome, Status

TARGET = Path(__file__).resolve().parent.parent / "docs" / "evidence.md"

_HEAD = """\
# Evidence

What is publicly known of the Neural Engine's arithmetic, and whether the emulator's profiles reproduce it. Nothing
here was measured by this project: each fact names its source.

Written by `python ci/render_evidence.py` from `mish_guard/data/evidence.yml`; the replays are those of
`mish-guard calibrate`.

"""


def main(arguments: list[str]) -> int:
    """Write or check the document; returns the exit code."""
    text = render()
    if "--check" in arguments:
        fresh = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
        print("docs/evidence.md is fresh." if fresh else "docs/evidence.md is stale: run python ci/render_evidence.py")
        return 0 if fresh else 1
    files.write_atomically(TARGET, text)
    print(f"Wrote {TARGET.name}.")
    return 0


def render() -> str:
    """The document."""
    facts = replay.load()
    outcomes = {name: {each.fact.id: each for each in replay.replay(PROFILES[name], facts)} for name in PROFILES}
    return _HEAD + "\n".join([*_summary(facts, outcomes), *_topics(facts, outcomes), *_gaps()]) + "\n"


def _summary(facts: tuple[Fact, ...], outcomes: dict[str, dict[str, Outcome]]) -> Iterator[str]:
    yield f"{len(facts)} facts.\n"
    yield "| profile | " + " | ".join(status.value for status in Status) + " |"
    yield "|---|" + "---|" * len(Status)
    for name, made in outcomes.items():
        counts = [sum(each.status is status for each in made.values()) for status in Status]
        yield f"| `{name}` | " + " | ".join(map(str, counts)) + " |"
    yield ""


def _topics(facts: tuple[Fact, ...], outcomes: dict[str, dict[str, Outcome]]) -> Iterator[str]:
    for topic in dict.fromkeys(fact.topic for fact in facts):
        yield f"## {topic[0].upper()}{topic[1:]}\n"
        for fact in facts:
            if fact.topic == topic:
                yield from _fact(fact, {name: made[fact.id] for name, made in outcomes.items()})


def _fact(fact: Fact, outcomes: dict[str, Outcome]) -> Iterator[str]:
    where = "; ".join(part for part in (", ".join(fact.chips), fact.os) if part)
    yield f"**{fact.id}** ({fact.certainty.value}{': ' if where else ''}{where}) {fact.statement}"
    origin = [_link(source) for source in fact.sources] or [f"derived from {', '.join(fact.derived_from)}"]
    yield f"<br>Source: {', '.join(origin)}"
    yield f"<br>Emulator: {_answer(outcomes)}\n"


def _link(source: str) -> str:
    url, _, note = source.partition(" ")
    name = url.removeprefix("https://").removeprefix("github.com/").rstrip("/")
    return f"[{name}]({url}){' ' + note if note else ''}"


def _answer(outcomes: dict[str, Outcome]) -> str:
    reproduced = [name for name, each in outcomes.items() if each.status is Status.REPRODUCED]
    contradicted = [name for name, each in outcomes.items() if each.status is Status.CONTRADICTED]
    if contradicted:
        return f"contradicted by {', '.join(contradicted)}"
    if reproduced:
        return f"reproduced by {', '.join(reproduced)}"
    any_outcome = outcomes["ane"]
    return f"{any_outcome.status.value}: {any_outcome.detail}"


def _gaps() -> Iterator[str]:
    yield "## What nobody has measured\n"
    for name, profile in PROFILES.items():
        gaps = replay.unmeasured(profile)
        if gaps:
            yield f"- `{name}`: {', '.join(f'`{gap}`' for gap in gaps)}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
