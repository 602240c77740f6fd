"""Prove an installed wheel: the libraries load, the files are those that were built, the converter is the patched one.

Run by the interpreter of the new environment, in a folder outside any checkout; prints one JSON list of checks.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mish_guard.candidate import BuildError, native

_MISSING = "the native libraries are missing or were built for another architecture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must hold, whether it does, and what to do if not."""

    name: str
    ok: bool
    detail: str
    fix: str


def prove(python: Path, environment: Path, lowering: str) -> list[Check]:
    """Every check, made by `python`; raises BuildError naming the first that fails and its fix."""
    command = [str(python), "-I", "-m", "mish_guard.candidate.proof"]
    with tempfile.TemporaryDirectory() as outside:
        done = subprocess.run(  # noqa: S603 - our own module, no shell
            [*command, str(environment), lowering], cwd=outside, capture_output=True, text=True, check=False
        )
    try:
        checks = [Check(**each) for each in json.loads(done.stdout)]
    except ValueError:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        msg = f"The built coremltools could not be examined: {last}"
        raise BuildError(msg) from None
    failed = next((check for check in checks if not check.ok), None)
    if failed is not None:
        msg = f"The built coremltools is not what it should be. {failed.name}: {failed.detail}. {failed.fix}"
        raise BuildError(msg)
    return checks


def examine(environment: Path, lowering: str) -> list[Check]:
    """The checks themselves, in the running interpreter."""
    return [
        _check("coremltools imports", _imports, "Take a tree that fits this Python, torch, numpy and protobuf."),
        _check("coremltools lies in the environment", lambda: _place(environment), "Remove what shadows it."),
        *(
            _check(f"{name} loads", lambda name=name: _loads(name), f"Fix: {_MISSING}; rebuild them.")  # type: ignore[misc]
            for name in ("libmilstoragepython", "libmodelpackage", *(["libcoremlpython"] if _on_mac() else []))
        ),
        _check("BlobWriter and BlobReader load", _blobs, f"BlobWriter not loaded: {_MISSING}."),
        _check("libraries match this machine", _architectures, "Rebuild with a native Python, without Rosetta."),
        _check("mish is converted by the patched text", lambda: _converter(lowering), "Build again from a clean tree."),
        _check("a model converts and reads back", _round_trip, "Run the conversion by hand to see the traceback."),
    ]


def _check(name: str, test: Callable[[], str], fix: str) -> Check:
    try:
        return Check(name=name, ok=True, detail=test(), fix=fix)
    except Exception as error:  # noqa: BLE001 - whatever a foreign build raises is the detail
        return Check(name=name, ok=False, detail=_first_line(error), fix=fix)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".rstrip(": .")


def _on_mac() -> bool:
    return sys.platform == "darwin"


def _imports() -> str:
    import coremltools

    return str(coremltools.__version__)


def _place(environment: Path) -> str:
    import coremltools

    place = Path(coremltools.__file__).resolve()
    if not place.is_relative_to(environment.resolve()):
        msg = f"imported from {place}"
        raise RuntimeError(msg)
    return str(place)


def _loads(name: str) -> str:
    return str(importlib.import_module(f"coremltools.{name}").__file__)


def _blobs() -> str:
    from coremltools.libmilstoragepython import _BlobStorageReader, _BlobStorageWriter

    return f"{_BlobStorageWriter.__name__}, {_BlobStorageReader.__name__}"


def _architectures() -> str:
    import coremltools

    machine = {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    found = {path.name: native.architectures(path) for path in native.libraries(Path(coremltools.__file__).parent)}
    wrong = {name: "+".join(sorted(kinds)) for name, kinds in found.items() if machine not in kinds}
    if wrong or not found:
        msg = f"{wrong or 'no library at all'} on {machine}"
        raise RuntimeError(msg)
    return f"{len(found)} libraries are {machine}"


def _converter(lowering: str) -> str:
    from mish_guard.models import lowerings

    converter = lowerings.registered_converter()
    if converter is None:
        msg = "the tree registers no converter for mish"
        raise RuntimeError(msg)
    source = inspect.getsource(converter)
    if lowering == lowerings.AS_IS:
        return "as-is: the tree's own"
    function = ast.parse(source).body[0]
    wanted = ast.parse(lowerings.converter_body(lowerings.get(lowering))).body
    if not isinstance(function, ast.FunctionDef) or [*map(ast.dump, function.body)] != [*map(ast.dump, wanted)]:
        msg = "the registered converter is another text"
        raise RuntimeError(msg)
    return f"the text of '{lowering}'"


def _round_trip() -> str:
    import numpy as np

    from mish_guard.convert.conversion import convert
    from mish_guard.engines.emulator import package
    from mish_guard.models import lowerings, networks
    from mish_guard.records import Backend, Frontend

    case = networks.case("scale-0.1")
    with tempfile.TemporaryDirectory() as folder:
        saved = convert(
            case.build(),
            [np.asarray(each) for each in case.feeds()[0]],
            lowering=lowerings.AS_IS,
            frontend=Frontend.TORCHSCRIPT,
            backend=Backend.MLPROGRAM_FP16,
            stem=Path(folder) / "proof",
        )
        return f"{len(package.load(saved).nodes)} operations"


if __name__ == "__main__":
    from mish_guard.convert.conversion import quiet

    with quiet():
        made = examine(Path(sys.argv[1]), sys.argv[2])
    sys.stdout.write(json.dumps([asdict(check) for check in made]))
