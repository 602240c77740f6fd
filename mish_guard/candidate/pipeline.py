"""From a source to a proved environment: fetch, patch, native libraries, wheel, install, prove."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mish_guard import files
from mish_guard.candidate import locate, native, patch, proof, source, venv, wheel
from mish_guard.candidate.native import Host, Mode
from mish_guard.candidate.source import Spec
from mish_guard.convert.witnesses import Interpreter
from mish_guard.errors import GuardError
from mish_guard.models import lowerings

Say = Callable[[str], None]

_SCRATCH = ".build-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was built, written beside the wheel and into its environment; `diff` is the patch of the converter."""

    source: str
    version: str
    commit: str
    lowering: str
    native: str
    native_reason: str
    diff: str


def build(spec: Spec, lowering: str, mode: Mode, out: Path, say: Say) -> tuple[Path, Record]:
    """The wheel of a source with a lowering patched in, in `out`; raises UsageError or BuildError.

    Everything happens in a scratch folder; `out` gets the finished wheel or nothing.
    """
    out.mkdir(parents=True, exist_ok=True)
    spec = source.resolve(spec)
    with tempfile.TemporaryDirectory(dir=out, prefix=_SCRATCH) as scratch:
        say(f"fetching {spec}")
        tree = source.fetch(spec, Path(scratch) / "tree", out / "downloads")
        made = patch.apply(tree.folder, lowering)
        changed = "patched" if made.diff else "unchanged"
        say(f"coremltools {tree.version}, {tree.commit[:19]}: converter of mish {changed}")
        used, reason = native.supply(tree, mode, out / "downloads", out / "native", Host.here())
        say(f"native libraries: {used.value} ({reason})")
        version = wheel.local_version(tree, lowering)
        record = Record(
            source=str(spec),
            version=version,
            commit=tree.commit,
            lowering=lowering,
            native=used.value,
            native_reason=reason,
            diff=made.diff,
        )
        packed = wheel.pack(tree, version, out / "wheels")
    packed_sha = hashlib.sha256(packed.read_bytes()).hexdigest()
    document = {**dataclasses.asdict(record), "wheel": packed.name, "wheel_sha256": packed_sha}
    files.write_atomically(packed.with_suffix(".json"), files.readable_json(document))
    say(f"packed {packed.name}")
    return packed, record


def wheel_of(spec: Spec, lowering: str, mode: Mode, out: Path, say: Say) -> Path:
    """The wheel alone; raises as `build` does."""
    return build(spec, lowering, mode, out, say)[0]


def difference(spec: Spec, lowering: str, out: Path) -> str:
    """The unified diff that a lowering makes in a source; empty if it changes nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = source.fetch(spec, Path(scratch) / "tree", out / "downloads")
        return patch.apply(tree.folder, lowering).diff


def install(spec: Spec, lowering: str, mode: Mode, out: Path, say: Say) -> Path:
    """The Python of an environment that holds the built and proved wheel; made once for each source and lowering."""
    spec = source.resolve(spec)  # once: a branch may move while it is built
    folder = out / "environments" / key(spec, lowering, mode)
    with files.locked(out, "the build"):
        _remove_leftovers(out)
        if not _is_proved(folder):
            _install(spec, lowering, mode, out, folder, say)
    return venv.python_of(folder)


def _install(spec: Spec, lowering: str, mode: Mode, out: Path, folder: Path, say: Say) -> None:
    packed, record = build(spec, lowering, mode, out, say)
    python = venv.create(folder, packed)
    for check in proof.prove(python, folder, lowering):
        say(f"proved: {check.name} ({check.detail})")
    tree_sha256 = locate.digest(locate.tree(Interpreter(python=python, folder=None)))
    # Last: an environment with a record is one that was proved.
    document = {**dataclasses.asdict(record), "tree_sha256": tree_sha256}
    files.write_atomically(folder / locate.RECORD, files.readable_json(document))


def _is_proved(folder: Path) -> bool:
    """Whether an environment is there, was proved, and is still what it was then."""
    who = Interpreter(python=venv.python_of(folder), folder=None)
    if not (folder / locate.RECORD).exists():
        return False
    try:
        return bool(locate.build_record(who, locate.digest(locate.tree(who))))
    except GuardError:
        return False


def _remove_leftovers(out: Path) -> None:
    """Scratch folders of builds that were killed; whoever holds the lock is the only one that builds."""
    for leftover in out.glob(f"{_SCRATCH}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def key(spec: Spec, lowering: str, mode: Mode) -> str:
    """Changes with the (resolved) source, the lowering's text, the native mode, and the running environment."""
    state = source.digest(Path(spec.place)) if spec.kind == "dir" else str(spec)
    text = lowering if lowering == lowerings.AS_IS else lowerings.converter_body(lowerings.get(lowering))
    parts = [state, text, mode.value, sys.version, sys.prefix]
    return files.sha256(json.dumps(parts))[:16]


def native_key(spec: Spec, out: Path) -> str:
    """The key under which `out`/native keeps a native build of this source; no Python source counts."""
    with tempfile.TemporaryDirectory() as scratch:
        sources = source.blobs_of(spec, Path(scratch) / "tree", out / "downloads", native.SOURCES)
    return native.cache_key(sources, Host.here(), os.environ)
