"""What a scan of a user's own model found, in the forms that somebody looks at. Names of a model are a stranger's."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mish_guard import files
from mish_guard.errors import Verdict
from mish_guard.report import html, pictures, words
from mish_guard.scan.rules import RULES, Risk, Rule
from mish_guard.scan.trial import Trial
from mish_guard.scan.view import View

_MOST_OPERATIONS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A model that was read: its operations, what is at risk among them, and what running it gave, if it was run."""

    model: Path
    view: View
    risks: tuple[Risk, ...]
    trials: tuple[Trial, ...]

    @property
    def wrong(self) -> tuple[Trial, ...]:
        """The runs that went wrong."""
        return tuple(each for each in self.trials if each.is_wrong)

    @property
    def is_at_risk(self) -> bool:
        """Whether a rule found anything, or a run went wrong."""
        return bool(self.risks or self.wrong)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found where everything could be looked at."""
        return not self.is_at_risk and self.view.gap is None

    @property
    def verdict(self) -> Verdict:
        """PASS, FAIL, or INCONCLUSIVE where nothing was found and not everything was seen."""
        if self.is_at_risk:
            return Verdict.FAIL
        return Verdict.PASS if self.is_clean else Verdict.INCONCLUSIVE

    @property
    def by_rule(self) -> dict[str, list[Risk]]:
        """What was found, rule by rule."""
        names = dict.fromkeys(each.rule for each in self.risks)
        return {name: [each for each in self.risks if each.rule == name] for name in names}


def headline(found: Scanned) -> str:
    """The first line of every form."""
    name, number = files.printable(found.model.name), len(found.view.nodes)
    if found.is_clean:
        ran = f", right under {words.count(len(found.trials), 'profile')}" if found.trials else ""
        return f"CLEAN: {name}: no known risk in {words.count(number, 'operation')}{ran}"
    if not found.is_at_risk:
        named = words.count(number, "operation")
        return f"INCONCLUSIVE: {name}: no known risk by the names of {named}, and no more is known"
    at_risk = len({each.name for each in found.risks})
    parts = [f"{at_risk} of {words.count(number, 'operation')}"] if at_risk else []
    if found.wrong:
        parts.append(f"wrong under {', '.join(each.profile for each in found.wrong)}")
    return f"AT RISK: {name}: {'; '.join(parts)}"


def page(found: Scanned) -> str:
    """One page of HTML: what is at risk and what to do, every run, and the operations with the wrong ones marked."""
    drawn = pictures.along({each.profile: each.errors for each in found.trials})
    state, _, rest = headline(found).partition(": ")
    return html.render(
        "scan.html.j2",
        title=f"mish-guard: {headline(found)}",
        state=state,
        verdict=found.verdict.value,
        summary=rest,
        gap=found.view.gap,
        rules=list(_rules(found)),
        picture=html.safe_picture(drawn, "p1", "relative error of every operation, by profile"),
        trials=[row(each) for each in found.trials],
        columns=COLUMNS,
        operations=list(_operations(found))[:_MOST_OPERATIONS],
        left_out=max(0, len(found.view.nodes) - _MOST_OPERATIONS),
        command=f"mish-guard scan {shlex.quote(files.printable(found.model.name))} --input random:1",
    )


COLUMNS = ("profile", "max_abs", "relative", "first wrong op", "got", "float64", "rests on")


def row(each: Trial) -> tuple[str, ...]:
    """One run as the cells of a table."""
    wrong, where = each.culprit, ("none", "", "")
    if wrong is not None:
        where = (f"{wrong.op} '{files.printable(wrong.name)}'", f"{wrong.got:.6g}", f"{wrong.want:.6g}")
    return (each.profile, f"{each.max_abs:.4g}", f"{each.relative:.3g}", *where, ", ".join(each.assumptions))


def _rules(found: Scanned) -> Iterator[tuple[Rule, Sequence[Risk]]]:
    for name, risks in found.by_rule.items():
        yield RULES[name], risks


def _operations(found: Scanned) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Every operation with what is said against it: rules first, then the profiles under which it is wrong first."""
    for node in found.view.nodes:
        said = [each.rule for each in found.risks if each.name == node.name]
        said += [f"first wrong under {each.profile}" for each in found.wrong if _is_culprit(each, node.name)]
        yield node.op, node.name, tuple(dict.fromkeys(said))


def _is_culprit(each: Trial, name: str) -> bool:
    return each.culprit is not None and each.culprit.name == name
