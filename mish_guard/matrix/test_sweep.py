"""Every half-precision number through one converted activation."""

import pytest

from mish_guard.matrix import expectation
from mish_guard.records import Family, Measurement, Role


@pytest.mark.cells(role=Role.CANDIDATE, family=Family.SWEEP)
def test_candidate(measurement: Measurement) -> None:
    """The candidate does what the matrix expects of the cell."""
    expectation.holds(measurement)
