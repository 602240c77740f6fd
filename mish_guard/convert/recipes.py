"""A recipe: what a conversion depends on. The court writes it, a witness converts it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from mish_guard.models.own import Own
from mish_guard.models.shapes import LADDERS, Rung
from mish_guard.records import Backend, Document, Frontend


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One conversion; cells that share it share one package.

    `case` and `rung` say how to build the model, whose name says the same; `own` where the activation comes from, if it
    is a user's.
    """

    model: str
    lowering: str
    frontend: Frontend
    backend: Backend
    case: str = field(compare=False)
    rung: Rung | None = field(default=None, compare=False)
    own: Own | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.model}/{self.frontend.value}/{self.backend.value}"

    @property
    def suffix(self) -> str:
        """How the saved model's name ends."""
        return ".mlmodel" if self.backend is Backend.NEURALNETWORK else ".mlpackage"


def to_json(recipe: Recipe) -> dict[str, object]:
    """A recipe as JSON types."""
    rung = None if recipe.rung is None else str(recipe.rung)
    return {**asdict(recipe), "frontend": recipe.frontend.value, "backend": recipe.backend.value, "rung": rung}


def from_json(document: Document) -> Recipe:
    """The inverse of `to_json`."""
    rungs = {str(rung): rung for ladder in LADDERS.values() for rung in ladder}
    return Recipe(
        **{
            **document,
            "frontend": Frontend(document["frontend"]),
            "backend": Backend(document["backend"]),
            "rung": None if document["rung"] is None else rungs[document["rung"]],
            "own": None if document["own"] is None else Own(**document["own"]),
        }
    )
