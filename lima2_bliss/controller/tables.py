"""Tables of text for the shell: headings, aligned columns, numbers of bytes as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def columns(headings: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "  ") -> list[str]:
    """Lines of a table: headings, then the rows, every column as wide as it needs."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(headings))]
    return [
        indent + "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def size_text(nbytes: int) -> str:
    """A number of bytes in the unit that fits."""
    for limit, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= limit:
            return f"{nbytes / limit:.1f} {unit}"
    return f"{nbytes} B"
