"""Stored controls judge the engine and the machine, grafts judge the tree."""

import pytest

from mish_guard.matrix import expectation
from mish_guard.records import Measurement, Role


@pytest.mark.cells(role=Role.NEGATIVE_CONTROL)
def test_negative_control(measurement: Measurement) -> None:
    """The engine shows the defect of a package that has it."""
    expectation.holds(measurement)


@pytest.mark.cells(role=Role.POSITIVE_CONTROL)
def test_positive_control(measurement: Measurement) -> None:
    """The engine runs a package without the defect correctly."""
    expectation.holds(measurement)


@pytest.mark.cells(role=Role.GRAFT)
def test_graft(measurement: Measurement) -> None:
    """A good lowering survives the candidate's own pipeline."""
    expectation.holds(measurement)
