"""One look for all figures.

Colours are Tol's vibrant scheme (https://sronpersonalpages.nl/~pault/), which stays distinct for colour-blind
readers and is readable on white and on dark paper; a marker says the same a second time. The same input gives
the same bytes: no dates, and ids in SVG depend on the content alone.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

# Each is used for one purpose only, so that a page can exchange them for its own.
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
    """How large a figure is: its width in inches, how many panels stand side by side, and its letters in points.

    None: as wide as its panels need, all of them side by side.
    """

    width: float | None = None
    across: int | None = None
    font: float = FONT

    @property
    def scale(self) -> float:
        """Of lengths that go with the letters."""
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
    """A method's look: the same in every figure, whatever other methods the study has.

    A method not known here gets one from a digest of its name, with a marker that no known method has; two
    such methods may meet in one of the 36.
    """
    if method in _KNOWN:
        return _KNOWN[method]
    first, second, *_ = hashlib.sha256(method.encode()).digest()
    return Look(_COLOURS[first % len(_COLOURS)], _OTHER_MARKERS[second % len(_OTHER_MARKERS)])


def applied(layout: Layout = PAGE) -> AbstractContextManager[None]:
    """The style, while figures are drawn and saved."""
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, **STYLE}  # a reader's own matplotlibrc changes nothing
    return mpl.rc_context(settings | {name: layout.scale * settings[name] for name in SCALED})


def save(draw: Callable[[Layout], Figure], stem: Path) -> None:
    """Write ``stem.png`` and ``stem.svg`` for screens, ``stem.pdf`` as wide as two columns of a paper and
    ``stem-column.pdf`` as wide as one; the same figure gives the same bytes.
    """
    for layout, names in ((PAGE, (".png", ".svg")), (TWO_COLUMNS, (".pdf",)), (ONE_COLUMN, ("-column.pdf",))):
        with applied(layout):
            figure = draw(layout)
            if engine := figure.get_layout_engine():
                engine.execute(figure)
            figure.set_layout_engine(None)  # it is laid out; every file would do it again
            for name in names:
                figure.savefig(stem.with_name(stem.name + name), metadata=_UNDATED[name[-3:]])
