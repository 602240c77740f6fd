"""The roads by which mish enters a model; some are known gaps."""

import pytest

from mish_guard.matrix import expectation
from mish_guard.records import Family, Measurement, Role


@pytest.mark.cells(role=Role.CANDIDATE, family=Family.SURFACE)
def test_candidate(measurement: Measurement) -> None:
    """The candidate does what the matrix expects of the cell."""
    expectation.holds(measurement)
