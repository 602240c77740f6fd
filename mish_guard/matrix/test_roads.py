"""Every branch on every road: swept, or covered by a cell that was."""

import pytest

from mish_guard.matrix import expectation
from mish_guard.records import Family, Measurement, Role


@pytest.mark.cells(role=Role.CANDIDATE, family=Family.ROADS)
def test_candidate(measurement: Measurement) -> None:
    """The candidate does what the matrix expects of the cell."""
    expectation.holds(measurement)
