"""Tables for people, drawn by rich into plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Wide enough for every table of ours; a narrower terminal wraps lines, it does not lose figures.
_WIDTH = 160


def render(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns under their headings, numbers as the caller formatted them; no trailing newline."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="", show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(width=_WIDTH, color_system=None, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
