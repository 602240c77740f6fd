"""Core ML predictions where there is no Mac: coremltools' own API, with the emulator in the place of the framework.

    pytest -p mish_guard.emulated_core_ml --ne-profile ane

`install` puts a stand-in where coremltools looks for its native bindings (`coremltools.libcoremlpython`) and lets
coremltools, and nothing else, see a Mac. As a pytest plugin it does so before any test module is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mish_guard.errors import GuardError

if TYPE_CHECKING:
    import pytest

DEFAULT_PROFILE = "ieee-fp16"


def install(profile: str = DEFAULT_PROFILE) -> None:
    """From here on coremltools predicts in this process with the emulator.

    `profile` is the arithmetic of the Neural Engine; models loaded for the CPU or the GPU have none of its hazards.
    Raises UsageError for an unknown profile, or if coremltools was imported before.
    """
    from mish_guard.emulated_core_ml import finder, machine

    machine.use(profile)
    finder.install()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option of the plugin."""
    group = parser.getgroup("emulated Core ML")
    group.addoption("--ne-profile", default=None, help="arithmetic of the emulated Neural Engine (default: ieee-fp16)")


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before a conftest can import coremltools."""
    _begin(early_config.known_args_namespace.ne_profile)


def pytest_configure(config: pytest.Config) -> None:
    """For a run whose plugin was registered too late for the hook before."""
    _begin(config.getoption("--ne-profile"))


def pytest_report_header(config: pytest.Config) -> str:
    """What predicts in this run."""
    return f"Core ML: emulated, Neural Engine as {config.getoption('--ne-profile') or DEFAULT_PROFILE}"


def _begin(profile: str | None) -> None:
    import pytest

    try:
        install(profile or DEFAULT_PROFILE)
    except GuardError as error:
        raise pytest.UsageError(str(error)) from error
