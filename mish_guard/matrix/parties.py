"""The parties of a run: the tree that is judged, the one it is judged against, and the witnesses that convert for them.

Both are identified by their files before anything of them runs. Light to import, so that the witnesses can load torch
while the court loads its own.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mish_guard import processes
from mish_guard.candidate import identify, locate
from mish_guard.convert.witnesses import Interpreter, Witnesses
from mish_guard.errors import ConversionError, MachineError
from mish_guard.matrix.order import Order
from mish_guard.models import lowerings
from mish_guard.records import Candidate


class Party:
    """One tree: who imports it, what its files were before anybody converted with them, and its witnesses."""

    def __init__(self, path: Path | None, lowering: str, order: Order) -> None:
        """Raises UsageError for a path that is no candidate, MachineError where there is no coremltools."""
        self.lowering = lowering
        self._who: Interpreter = locate.interpreter(path)
        self.found: Candidate = identify.identify(self._who, lowering)
        self._end = contextlib.ExitStack()
        folder = self._end.enter_context(tempfile.TemporaryDirectory(prefix="mish-guard-", ignore_cleanup_errors=True))
        mark = processes.new_mark()
        self.witnesses = Witnesses(self._who, Path(folder), mark=mark, jobs=order.jobs, seconds=order.seconds)
        self._end.callback(self.witnesses.close)

    @property
    def is_as_found(self) -> bool:
        """Whether the files of the tree are those that were identified."""
        return identify.still(self.found, self._who)

    def as_told(self) -> tuple[Candidate, str | None]:
        """The tree with what its witnesses say of themselves, and a complaint; as found where they cannot import it."""
        try:
            return identify.as_told(self.found, self.witnesses.hello), None
        except ConversionError:
            return self.found, None
        except MachineError as error:
            return self.found, str(error)

    def close(self) -> None:
        """End the witnesses and remove what they made; does nothing the second time."""
        self._end.close()


class Parties:
    """The candidate, and the tree that it must not be worse than where the order names one."""

    def __init__(self, order: Order) -> None:
        """Raises as `Party` does, and UsageError for a lowering that there is not."""
        if order.lowering != lowerings.AS_IS:
            lowerings.get(order.lowering)
        self.candidate = Party(order.candidate, order.lowering, order)
        self.base: Party | None = None
        try:
            self.base = None if order.against is None else Party(order.against, lowerings.AS_IS, order)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Party]:
        yield self.candidate
        if self.base is not None:
            yield self.base

    def summon(self) -> None:
        """Start every witness; they wait until a conversion is wanted."""
        for party in self:
            party.witnesses.summon()

    def close(self) -> None:
        """End every witness."""
        for party in self:
            party.close()
