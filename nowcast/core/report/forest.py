"""Forest plots: effects in per cent with their intervals, one a row, beside the line of no effect.

Drawn by matplotlib, for the page and as files for papers.
"""

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from nowcast.core.report.charts import COLOURS, INCHES, LINE_WIDTH, Line, inline

# What intervals may be over -> how they are drawn.
STYLES = {"seeds": Line(COLOURS[1], ()), "blocks": Line(COLOURS[2], ())}
MARKERS = {"seeds": "o", "blocks": "D"}
TEXT = 10.0  # points
COLUMNS = 3  # of a figure with several plots
LETTERS = 40  # of a label in a line, beside the effect as a number
# Inches.
TOP, BOTTOM, SIDE = 0.3, 0.58, 0.14
LABEL_LINE, INTERVAL_LINE, ROW_GAP = 0.18, 0.13, 0.14


@dataclass(frozen=True)
class ForestRow:
    """One effect.

    Args:
        label: of the row.
        value: the effect, in per cent; None: it has none, and the row says so.
        intervals: ``seeds``, ``blocks`` -> low and high, in per cent.
        sets_scale: whether the horizontal axis has to show it whole; what sticks out of it ends in
            an arrow, with its number beside the label.
    """

    label: str
    value: float | None
    intervals: Mapping[str, tuple[float, float]]
    sets_scale: bool = True

    @property
    def lines(self) -> list[str]:
        """The label, in one line or two."""
        return textwrap.wrap(self.label, LETTERS, max_lines=2, placeholder=" …") or [""]

    @property
    def height(self) -> float:
        """In inches."""
        return ROW_GAP + len(self.lines) * LABEL_LINE + max(1, len(self.intervals)) * INTERVAL_LINE

    @property
    def ends(self) -> list[float]:
        """All numbers that are drawn."""
        if self.value is None:
            return []
        return [self.value, *(end for interval in self.intervals.values() for end in interval)]


@dataclass(frozen=True)
class Forest:
    """The effects by one score.

    Args:
        title: the score.
        rows: from the top.
        sides: what it means to be left and right of zero.
        bound: an effect within ± this many per cent does not matter; None: not set.
    """

    title: str
    rows: Sequence[ForestRow]
    sides: tuple[str, str]
    bound: float | None = None

    @property
    def height(self) -> float:
        """In inches."""
        return TOP + sum(row.height for row in self.rows) + BOTTOM

    @property
    def kinds(self) -> dict[str, Line]:
        """What its intervals are over, with their style."""
        found = {kind for row in self.rows for kind in row.intervals}
        return {kind: style for kind, style in STYLES.items() if kind in found}

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the horizontal axis, in per cent: zero, the bound, and the rows that set it."""
        ends = [end for row in self.rows if row.sets_scale for end in row.ends]
        ends += [0.0] if self.bound is None else [-self.bound, self.bound]
        low, high = min(0.0, *ends), max(0.0, *ends)
        margin = 0.06 * (high - low) or 1.0
        return low - margin, high + margin


def drawn_forests(forests: Sequence[Forest], prefix: str) -> list[tuple[str, Markup, str]]:
    """Title and inline SVG of each, as `charts.drawn` gives them."""
    # The browser sets the text, in any script; matplotlib's own font has no glyphs for some.
    with matplotlib.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        return [
            (forest.title, inline(figure_of_forests([forest]), f"{prefix}{position}"), "")
            for position, forest in enumerate(forests)
        ]


def figure_of_forests(forests: Sequence[Forest], below: float = 0.0) -> Figure:
    """Plots side by side and below each other, with `below` inches of room for a legend."""
    lines_of_plots = [forests[at : at + COLUMNS] for at in range(0, len(forests), COLUMNS)]
    heights = [max(forest.height for forest in line) for line in lines_of_plots]
    width, whole = INCHES[0] * len(lines_of_plots[0]), sum(heights) + below
    figure = Figure(figsize=(width, whole))
    top = whole
    for line, height in zip(lines_of_plots, heights, strict=True):
        for column, forest in enumerate(line):
            left, bottom = column * INCHES[0] + SIDE, top - forest.height + BOTTOM
            size = INCHES[0] - 2 * SIDE, forest.height - TOP - BOTTOM
            axes = figure.add_axes(
                (left / width, bottom / whole, size[0] / width, size[1] / whole),
                xlim=forest.limits,
                ylim=(size[1], 0),  # inches from the top
                yticks=[],
            )
            _draw(axes, forest)
        top -= height
    return figure


def _draw(axes: Axes, forest: Forest) -> None:
    axes.set_title(forest.title, loc="left", fontsize=12, parse_math=False)
    if forest.bound is not None:
        axes.axvspan(-forest.bound, forest.bound, color="#8a8f96", alpha=0.25, linewidth=0)
    axes.axvline(0, color="#1b1f24", linewidth=1)
    top = 0.0
    for row in forest.rows:
        if top:
            axes.axhline(top, color="#dddddd", linewidth=0.6)
        _draw_row(axes, row, top)
        top += row.height
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left, right = forest.sides
    for x, align, text in (
        (0, "left", f"← {left}"),
        (0.5, "center", "% of the reference"),
        (1, "right", f"{right} →"),
    ):
        below = -(BOTTOM - 0.12) / axes.get_ylim()[0]
        axes.text(x, below, text, transform=axes.transAxes, ha=align, fontsize=TEXT)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_row(axes: Axes, row: ForestRow, top: float) -> None:
    """The label with the effect as a number, below them the intervals, or a dot without any."""
    transform = axes.get_yaxis_transform()  # x in shares of the axes
    # Readable across the line of no effect.
    style = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    y = top + (ROW_GAP + LABEL_LINE) / 2
    said = (
        "undefined" if row.value is None else f"{row.value:+.{1 if abs(row.value) >= 10 else 2}f} %"
    )
    axes.text(1, y, said, transform=transform, fontsize=TEXT, ha="right", va="center", bbox=style)
    for line in row.lines:
        axes.text(
            0,
            y,
            line,
            transform=transform,
            fontsize=TEXT,
            va="center",
            bbox=style,
            parse_math=False,
        )
        y += LABEL_LINE
    if row.value is None:
        return
    least, most = axes.get_xlim()
    y += (INTERVAL_LINE - LABEL_LINE) / 2
    for kind, (low, high) in row.intervals.items() or [("", (row.value, row.value))]:
        colour = STYLES[kind].colour if kind else COLOURS[0]
        axes.plot([max(low, least), min(high, most)], [y, y], color=colour, linewidth=LINE_WIDTH)
        axes.plot(row.value, y, MARKERS.get(kind, "o"), color=colour, markersize=4.5)
        for sticks_out, x, arrow in ((low < least, least, "<"), (high > most, most, ">")):
            if sticks_out:
                axes.plot(x, y, arrow, color=colour, markersize=6, clip_on=False)
        y += INTERVAL_LINE
