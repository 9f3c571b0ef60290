"""Tables of plain text, for terminals and pipes."""

from collections.abc import Iterable, Sequence

from stages.core.errors import printable


def align(rows: Iterable[Sequence[str]], text_columns: int) -> list[str]:
    """Return rows of text as lines with columns of equal width.

    Args:
        rows: cells.
        text_columns: how many of the first columns are aligned left; the others are aligned right.
    """
    table = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            text.ljust(width) if index < text_columns else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
