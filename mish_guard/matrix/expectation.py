"""What a test of the matrix demands of its cell."""

from __future__ import annotations

import pytest

from mish_guard.numerics import ceiling
from mish_guard.records import Measurement


def holds(measurement: Measurement) -> None:
    """Fail the test with what is wrong with its cell; no trace of Python, which says nothing of a model."""
    complaint = ceiling.complaint(measurement)
    if complaint is not None:
        pytest.fail(complaint, pytrace=False)
