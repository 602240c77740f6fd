"""How far a run is: one line that rewrites itself in a terminal, a line now and then elsewhere, nothing if unwanted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TextIO

# Elsewhere than in a terminal: a line for each tenth of the cells, and one after so many seconds without any.
_TENTHS = 10
_SILENT_SECONDS = 30.0

_CLEAR = "\r\x1b[K"


class Progress:
    """Tells `stream` of `total` cells: which one is measured, how many are done, how long the rest may take.

    In a terminal that moves its cursor the line is rewritten, and gone at the end; `quiet` says nothing anywhere.
    """

    def __init__(
        self,
        total: int,
        stream: TextIO,
        *,
        quiet: bool = False,
        dumb: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._stream = stream
        self._quiet = quiet
        self._rewrites = stream.isatty() and not dumb
        self._clock = clock
        self._started = self._told = clock()
        self._done = 0

    def measuring(self, cell: str) -> None:
        """A cell is measured now."""
        if self._quiet:
            return
        if self._rewrites:
            width = shutil.get_terminal_size((80, 24)).columns - 1
            self._write(_CLEAR + self._line(cell)[:width])
        elif self._is_due():
            self._told = self._clock()
            self._write(self._line(cell) + "\n")

    def done(self) -> None:
        """The cell has been measured."""
        self._done += 1

    def end(self) -> None:
        """No more cells: clear the line, or say that all are done."""
        if not self._quiet:
            self._write(_CLEAR if self._rewrites else f"{self._done} of {self._total} cells\n")

    def _is_due(self) -> bool:
        step = max(1, self._total // _TENTHS)
        return self._done % step == 0 or self._clock() - self._told >= _SILENT_SECONDS

    def _line(self, cell: str) -> str:
        return f"{self._done} of {self._total} cells{self._left()}: {cell}"

    def _left(self) -> str:
        """The time left if the rest goes as fast as what is done; nothing before there is something to go by."""
        if not self._done:
            return ""
        seconds = (self._clock() - self._started) / self._done * (self._total - self._done)
        minutes, rest = divmod(round(seconds), 60)
        return f", {minutes} min {rest} s left" if minutes else f", {rest} s left"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
