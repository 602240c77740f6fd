"""Two trees that every test of the court wants."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import trees


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree whose own converter is the good form."""
    return trees.tree(tmp_path_factory.mktemp("good"), trees.with_mish(trees.GOOD))


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree whose own converter is that of the release."""
    return trees.tree(tmp_path_factory.mktemp("bad"), trees.with_mish(trees.RELEASED))
