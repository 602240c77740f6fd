"""The figures of the known defects, measured again: with the defect, without it, and where it begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from mish_guard.convert.conversion import convert
from mish_guard.engines.emulator import EmulatorEngine
from mish_guard.judge import defects
from mish_guard.judge.defects import Defect
from mish_guard.matrix import plan
from mish_guard.models import networks
from mish_guard.models.branches import Want
from mish_guard.models.networks import SweepCase
from mish_guard.numerics import ceiling, reference
from mish_guard.records import Backend, CellKey, Figures, Frontend, Measurement

DEFECTS = {each.id: each for each in defects.load_defects()}


class StableSoftplus(nn.Module):
    """What coremltools #2725 makes of softplus."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x) + torch.log(1 + torch.exp(-x.abs()))


class ShiftedLogSumExp(nn.Module):
    """What coremltools #2726 makes of log-sum-exp."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = torch.cat([x] * networks.LogSumExp.CHANNELS, dim=1)
        largest = channels.amax(dim=1, keepdim=True)
        return largest + torch.log(torch.exp(channels - largest).sum(dim=1, keepdim=True))


def mish() -> nn.Module:
    return nn.Mish()


# The activation and lowering with the defect, those without it, and what both should compute.
FORMS: dict[str, tuple[tuple[Callable[[], nn.Module], str], tuple[Callable[[], nn.Module], str], Want]]
FORMS = {
    "MISH-SOFTPLUS-CLIFF": ((mish, "softplus"), (mish, "exp"), reference.mish),
    "SOFTPLUS-CLIFF": ((nn.Softplus, "as-is"), (StableSoftplus, "as-is"), reference.softplus),
    "LSE-OVERFLOW": ((networks.LogSumExp, "as-is"), (ShiftedLogSumExp, "as-is"), networks.log_sum_exp),
}


def swept(activation: Callable[[], nn.Module], lowering: str, want: Want, folder: Path) -> Figures:
    """Every input through a delta convolution and `activation`, under the profile ane."""
    case = SweepCase(model="form", activation=activation, kernel=3, want=want)
    path = convert(
        case.build(),
        case.feeds()[0],
        lowering=lowering,
        frontend=Frontend.TORCHSCRIPT,
        backend=Backend.MLPROGRAM_FP16,
        stem=folder / lowering,
    )
    return case.figures(EmulatorEngine(("ane",)).run(path, case.feeds(), "ane").predictions)


def test_every_defect_is_measured_here() -> None:
    assert FORMS.keys() == DEFECTS.keys()


@pytest.mark.parametrize("name", FORMS)
def test_the_limit_lies_between_the_figures_with_and_without(name: str, tmp_path: Path) -> None:
    defect, (bad, good, want) = DEFECTS[name], FORMS[name]
    with_it, without = (swept(*form, want, tmp_path) for form in (bad, good))
    assert (getattr(with_it, defect.figure), getattr(without, defect.figure)) == (defect.before, defect.after)
    assert defect.after < defect.limit <= defect.before
    assert defect.starts_at in {interval.first for interval in with_it.bad_intervals}
    assert ceiling.is_within(without)


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_the_cells_of_a_defect_are_in_the_matrix_and_show_it(defect: Defect, as_is_results: Path) -> None:
    """Each case that a defect names is over the ceiling with it at the profile ane, and is then called by its name."""
    from mish_guard.results import run_file

    cells = run_file.read_run(as_is_results).measurements
    shown = [key for key in map(CellKey.parse, cells) if _is_named(cells[str(key)], defect)]
    assert {key.case for key in shown if key.family not in defect.families} == set(defect.cases)
    assert {key.family for key in shown if key.case not in defect.cases} == set(defect.families)


def _is_named(cell: Measurement, defect: Defect) -> bool:
    return cell.key.place == "ane" and defects.defect(cell, [defect]) is not None


# Gaps of the family of softplus that data/defects.yml does not name.
UNNAMED = {"nn.Softplus-beta", "torch.log_softmax", "torch.logcumsumexp"}


def test_a_sound_run_shows_no_defect_but_in_its_known_gaps(exp_results: Path) -> None:
    from mish_guard.results import run_file

    shown = [
        cell
        for cell in run_file.read_run(exp_results).measurements.values()
        if not cell.key.role.is_control and defects.defect(cell, list(DEFECTS.values())) is not None
    ]
    assert {cell.known_gap is None for cell in shown} == {False}
    gaps = {
        cell.key.case
        for cell in plan.load(plan.DEFAULT, [plan.Place(name="ane", is_neural_engine=True)])
        if cell.known_gap
    }
    assert {cell.key.case for cell in shown} == gaps - UNNAMED
