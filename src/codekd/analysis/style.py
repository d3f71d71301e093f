"""Colours, markers, fonts and file formats of all figures.

Colours are Tol's vibrant scheme (https://sronpersonalpages.nl/~pault/), which stays distinct for colour-blind
readers and is readable on white and on dark paper; every method has a marker as well. The same input gives the same
bytes: files have no dates, and ids in SVG depend on the content alone.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

# Each has one purpose alone, so that a page can replace these colours in an SVG by its own.
INK, MUTED, GRID, BAND, PAPER = "#1f2328", "#646b73", "#d5d9de", "#f3f5f7", "#ffffff"
_COLOURS = ("#0077bb", "#ee7733", "#009988", "#cc3311", "#33bbee", "#ee3377")
_FURTHER = ("fitnets", "rkd", "sp", "pkt", "simkd", "mgskd", "ast", "dkd", "lskd", "crd")
_OTHER_MARKERS = (">", "p", "h", "*", "d", "8")

STYLE: dict[str, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.markersize": 5.5,
    "errorbar.capsize": 0,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.1,
    "text.parse_math": False,  # a name may hold a dollar sign
    "savefig.dpi": 160,
    "svg.hashsalt": "codekd",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # embedded as TrueType: publishers refuse Type 3
}
_UNDATED = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
FONT = STYLE["font.size"]
SCALED = (
    *("font.size", "axes.titlesize", "lines.markersize", "lines.linewidth", "grid.linewidth", "axes.linewidth"),
    *("figure.constrained_layout.w_pad", "figure.constrained_layout.h_pad"),
)


@dataclass(frozen=True)
class Layout:
    """Size of a figure.

    Attributes:
        width: width in inches; None for as much as the panels need.
        across: panels side by side; None for all of them.
        font: font size in points.
    """

    width: float | None = None
    across: int | None = None
    font: float = FONT

    @property
    def scale(self) -> float:
        """Factor of all lengths that are proportional to the font size."""
        return self.font / FONT


PAGE, TWO_COLUMNS, ONE_COLUMN = Layout(), Layout(7.0, 3, 8), Layout(3.35, 1, 8)


class Look(NamedTuple):
    """Colour and marker of a method."""

    colour: str
    marker: str


_KNOWN = {
    "ft": Look("#7a8088", "o"),
    "kd": Look(_COLOURS[0], "s"),
    "dist": Look(_COLOURS[1], "D"),
    "pkd": Look(_COLOURS[2], "^"),
    "ckd": Look(_COLOURS[3], "v"),
    "pseudo": Look(_COLOURS[4], "X"),
    **{name: Look(_COLOURS[number % 6], "P<"[number // 6]) for number, name in enumerate(_FURTHER)},
}


def look(method: str) -> Look:
    """Colour and marker of a method, the same in every figure, whatever other methods the study has.

    An unknown method gets one of 36 looks from a digest of its name, with a marker that no known method has; two
    unknown methods may get the same one.
    """
    if method in _KNOWN:
        return _KNOWN[method]
    first, second, *_ = hashlib.sha256(method.encode()).digest()
    return Look(_COLOURS[first % len(_COLOURS)], _OTHER_MARKERS[second % len(_OTHER_MARKERS)])


def applied(layout: Layout = PAGE) -> AbstractContextManager[None]:
    """Context in which figures of a layout are drawn and saved, with the settings of matplotlib that they need."""
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, **STYLE}  # a user's matplotlibrc changes nothing
    return mpl.rc_context(settings | {name: layout.scale * settings[name] for name in SCALED})


def save(draw: Callable[[Layout], Figure], stem: Path) -> None:
    """Write a figure as PNG and SVG for screens, and as PDF for papers; the same figure gives the same bytes.

    Args:
        draw: draws the figure in a layout.
        stem: path without suffix of ``.png``, ``.svg``, ``.pdf`` (two columns wide) and ``-column.pdf`` (one).
    """
    for layout, names in ((PAGE, (".png", ".svg")), (TWO_COLUMNS, (".pdf",)), (ONE_COLUMN, ("-column.pdf",))):
        with applied(layout):
            figure = draw(layout)
            if engine := figure.get_layout_engine():
                engine.execute(figure)
            figure.set_layout_engine(None)  # the layout is final: saving would compute it again for every file
            for name in names:
                figure.savefig(stem.with_name(stem.name + name), metadata=_UNDATED[name[-3:]])
