"""Tables for a terminal."""

from collections.abc import Sequence

Row = tuple[str, ...]


def aligned(rows: Sequence[Row]) -> list[str]:
    """Rows of a table as lines: columns two spaces apart, the first aligned left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines
