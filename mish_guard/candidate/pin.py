"""ci/coremltools.yml: which coremltools a checkout judges when nobody says otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mish_guard import files
from mish_guard.candidate.native import Mode
from mish_guard.candidate.source import Spec

_RELEASE = re.compile(r"\d+(\.\d+)+(\.?(a|b|rc|dev)\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Repository, ref, lowering to patch in, Python version, native mode, sha256 of published files by name."""

    repository: str
    ref: str
    lowering: str
    python: str
    native: Mode
    sha256: Mapping[str, str]

    @property
    def source(self) -> Spec:
        """Where the tree comes from.

        A release whose native libraries need not be built is taken from its source archive, which holds the same
        Python files; everything else is cloned.
        """
        if self.native is not Mode.BUILD and _RELEASE.fullmatch(self.ref):
            return Spec(kind="sdist", place=self.ref, sha256=self.sha256)
        return Spec(kind="git", place=self.repository, ref=self.ref, sha256=self.sha256)


def load(path: Path) -> Pin:
    """The pin in a file; raises UnreadableFileError for one that does not follow its schema."""
    document = files.read_yaml(path)
    files.validate(document, "coremltools", path)
    return Pin(
        repository=document["repository"],
        ref=document["ref"],
        lowering=document["lowering"],
        python=document["python"],
        native=Mode(document["native"]),
        sha256=document.get("sha256", {}),
    )
