"""What one Mac did, in plain words and without any baseline, and the questions that only hardware can answer."""

from __future__ import annotations

from collections.abc import Iterator

from mish_guard.engines.coreml import NEURAL_ENGINE
from mish_guard.judge import compare
from mish_guard.numerics import ceiling
from mish_guard.records import Device, Measurement, Role, Run
from mish_guard.report.words import count


def name(run: Run) -> str:
    """The machine: chip and macOS, `unknown` where it does not tell."""
    device = next((each.device for each in run.engines.values() if each.is_hardware), {})
    chip = device.get("hardware", {}).get("chip") or "unknown chip"
    return f"{chip}, macOS {device.get('environment', {}).get('macos') or 'unknown'}"


def words(run: Run) -> Iterator[str]:
    """One line for each place: what native softplus did, what the candidate did, and what is still wrong."""
    for place in sorted(run.engines):
        if not run.is_hardware(place):
            continue
        cells = [cell for cell in run.measurements.values() if cell.key.place == place]
        parts = [*_native(cells, place), _candidate(cells), *_wrong(cells)]
        yield f"{name(run)}, {place}: {'; '.join(parts)}."
    if NEURAL_ENGINE not in run.engines:
        yield f"{name(run)}: no Neural Engine was measured."


def _of(cells: list[Measurement], role: Role) -> list[Measurement]:
    return [cell for cell in cells if cell.key.role is role]


def _native(cells: list[Measurement], place: str) -> Iterator[str]:
    """What native softplus did, at a place at which the matrix has its control."""
    controls = _of(cells, Role.NEGATIVE_CONTROL)
    measured = [cell for cell in controls if cell.figures is not None]
    bad = [each for cell in measured if cell.figures is not None for each in cell.figures.bad_intervals]
    starts = sorted(each.first for each in bad if each.first > 0)
    if controls and not measured:
        yield "mish through native softplus could not be measured"
    elif measured and place == NEURAL_ENGINE and not any(compare.placed(cell) for cell in measured):
        yield "native softplus was placed on no Neural Engine"
    elif measured:
        yield f"mish through native softplus is wrong from x = {starts[0]:g}" if starts else "native softplus is right"


def _candidate(cells: list[Measurement]) -> str:
    required = [cell for cell in _of(cells, Role.CANDIDATE) if cell.known_gap is None]
    inside = [cell for cell in required if cell.figures is not None and ceiling.is_within(cell.figures)]
    if required and len(inside) == len(required):
        which = f"all {len(required)} required cells" if len(required) > 1 else "the one required cell"
        return f"the lowering under test is inside its ceiling in {which}"
    return f"the lowering under test is inside its ceiling in {len(inside)} of {count(len(required), 'required cell')}"


def _wrong(cells: list[Measurement]) -> Iterator[str]:
    gaps = [cell for cell in _of(cells, Role.CANDIDATE) if cell.known_gap is not None and cell.figures is not None]
    wrong = sorted({cell.key.case for cell in gaps if cell.figures and not ceiling.is_within(cell.figures)})
    if wrong:
        yield f"still wrong: {', '.join(wrong)}"
    failed = [cell for cell in cells if cell.failure is not None]
    if failed:
        yield f"{count(len(failed), 'cell')} gave no figures"


def answers(run: Run) -> Iterator[tuple[str, str]]:
    """Question and answer, for what no emulator and no document settles."""
    cells = [cell for cell in run.measurements.values() if run.is_hardware(cell.key.place)]
    on_ne = [cell for cell in cells if cell.key.place == NEURAL_ENGINE]
    device = next((each.device for each in run.engines.values() if each.is_hardware), {})
    yield "Does the convolution carry every input bit for bit?", _carried(cells)
    yield "Which devices does Core ML list here?", ", ".join(device.get("compute_devices", ())) or "none"
    yield "Is this a virtual machine?", str(device.get("hardware", {}).get("is_vm"))
    yield "Does the plan of a neural network name its layers?", _planned(cells)
    yield "Has every operation a device, casts included?", _devices(cells)
    yield "Is log-sum-exp right on the CPU?", _lse(cells)
    yield "Do two predictions on the Neural Engine give the same bits?", _repeats(on_ne)
    yield "Does a process that is killed end?", _killed(run)


def _carried(cells: list[Measurement]) -> str:
    sweeps = [cell for cell in cells if cell.key.role is Role.POSITIVE_CONTROL and cell.key.family.value == "sweep"]
    told = [
        f"{cell.figures.n_covered - (cell.inexact or 0)} of {cell.figures.n_total} at {cell.key.place}"
        + (f", {cell.inexact} beside it" if cell.inexact else "")
        for cell in sweeps
        if cell.figures
    ]
    return ", ".join(told) or "not measured"


def _planned(cells: list[Measurement]) -> str:
    found = [cell.placement for cell in cells if cell.key.backend.value == "neuralnetwork" and cell.placement]
    return "not measured" if not found else "yes" if all(each.is_known for each in found) else "no"


def _devices(cells: list[Measurement]) -> str:
    devices = [each for cell in cells if cell.placement for each in cell.placement.ops.values()]
    unknown = devices.count(Device.UNKNOWN)
    return f"{unknown} of {len(devices)} have none" if devices else "not measured"


def _lse(cells: list[Measurement]) -> str:
    found = [cell for cell in cells if "log" in cell.key.case and cell.key.place == "cpu-only" and cell.figures]
    if not found:
        return "not measured"
    return "yes" if all(cell.figures and ceiling.is_within(cell.figures) for cell in found) else "no"


def _repeats(cells: list[Measurement]) -> str:
    told = [cell.repeats_agree for cell in cells if cell.repeats_agree is not None]
    return f"{told.count(True)} of {len(told)}" if told else "not measured"


def _killed(run: Run) -> str:
    reasons = [cell.failure.reason for cell in run.measurements.values() if cell.failure] + list(run.notes)
    if any("stuck in the kernel" in each for each in reasons):
        return "no"
    return "yes" if any("was killed while" in each for each in reasons) else "none had to be killed"
