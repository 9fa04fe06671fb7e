"""Small charts as inline SVG: one line a forecaster, drawn the same in every chart of a page."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from statistics import fmean, stdev
from typing import Literal

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

# Okabe and Ito 2008, told apart with any colour vision; their yellow is too pale for lines.
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# Lengths on and off in line widths. Four styles and seven colours: 28 pairs before one recurs.
DASHES = ((), (4.0, 1.4), (1.2, 1.2), (5.0, 1.2, 1.2, 1.2))
LINE_WIDTH = 1.7  # points
INCHES = (4.2, 2.9)  # of a chart; at 10 pt its text is readable on a phone
LOG_ABOVE = 10.0  # a loss that falls by more than this factor is drawn on a logarithmic axis

Curve = Mapping[float, float | None]  # where along the axis -> value; None is a gap


@dataclass(frozen=True)
class Line:
    """How a forecaster is drawn, the same in every chart and legend."""

    colour: str
    dashes: tuple[float, ...]

    @property
    def style(self) -> Literal["solid"] | tuple[float, tuple[float, ...]]:
        """For matplotlib."""
        return (0.0, self.dashes) if self.dashes else "solid"

    @property
    def dash_array(self) -> str:
        """For SVG, in points."""
        return " ".join(f"{LINE_WIDTH * length:g}" for length in self.dashes) or "none"


@dataclass(frozen=True)
class Chart:
    """One small chart.

    Args:
        title: what is drawn, the label of the vertical axis.
        axis: label of the horizontal axis.
        curves: forecaster -> its curves, one a seed.
        is_loss: noisy and falling fast: no band, and a logarithmic axis if it helps.
        limits: least and greatest value that there can be, where bands end; None: no limit.
        bands: forecaster -> where along the axis -> low and high; None: one sample standard
            deviation over the seeds to either side.
        levels: values at a few levels such as thresholds: a tick and a dot at each.
    """

    title: str
    axis: str
    curves: Mapping[str, Sequence[Curve]]
    is_loss: bool = False
    limits: tuple[float | None, float | None] = (None, None)
    bands: Mapping[str, Mapping[float, tuple[float, float]]] | None = None
    levels: bool = False

    @property
    def has_lines(self) -> bool:
        """Whether any curve has two points or more."""
        return any(len(curve) > 1 for curves in self.curves.values() for curve in curves)

    @property
    def identical(self) -> list[list[str]]:
        """Forecasters whose lines lie on each other all the way, in groups."""
        drawn = {
            name: [*map(tuple, np.nan_to_num(_mean_and_deviation(curves), nan=inf))]
            for name, curves in self.curves.items()
        }
        return groups_of_same(drawn)


def lines(names: Iterable[str]) -> dict[str, Line]:
    """A line for each name, in their order."""
    return {
        name: Line(COLOURS[position % len(COLOURS)], DASHES[position % len(DASHES)])
        for position, name in enumerate(dict.fromkeys(names))
    }


def groups_of_same(drawn: Mapping[str, object]) -> list[list[str]]:
    """Names under which the same is drawn, in groups of two or more."""
    groups: list[list[str]] = []
    for name, content in drawn.items():
        group = next((own for own in groups if drawn[own[0]] == content), None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    return [group for group in groups if len(group) > 1]


def legend_names(drawn: Mapping[str, object]) -> dict[str, str]:
    """What a legend calls each name: itself, or ``A = B`` where the same is drawn under both."""
    group_of = {name: group for group in groups_of_same(drawn) for name in group}
    return {
        name: " = ".join([name, *(other for other in group_of.get(name, ()) if other != name)])
        for name in drawn
    }


def legend(charts: Iterable[Chart], styles: Mapping[str, Line]) -> dict[str, Line]:
    """The lines that these charts draw."""
    shown = {name for chart in charts for name in chart.curves}
    return {name: line for name, line in styles.items() if name in shown}


def drawn(
    charts: Sequence[Chart], styles: Mapping[str, Line], prefix: str
) -> list[tuple[str, Markup, str]]:
    """Title and inline SVG of each chart, and which of its lines lie on each other."""
    return [
        (
            chart.title,
            inline(figure_of(chart, styles), f"{prefix}{position}"),
            "; ".join(" = ".join(group) for group in chart.identical),
        )
        for position, chart in enumerate(charts)
    ]


def figure_of(chart: Chart, styles: Mapping[str, Line]) -> Figure:
    """The chart without a legend, each forecaster in its style."""
    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.add_subplot()
    low, high = inf, -inf
    for name, curves in chart.curves.items():
        x, mean, deviation = _mean_and_deviation(curves)
        _draw(axes, styles[name], x, mean, dots=chart.levels)
        band = np.array((mean - deviation, mean + deviation))
        if chart.bands is not None:
            band = np.array([chart.bands[name].get(at, (nan, nan)) for at in x.tolist()]).T
        if not chart.is_loss and np.isfinite(band).any():
            band = np.clip(band, *_bounds(chart))
            axes.fill_between(x, *band, color=styles[name].colour, alpha=0.15, linewidth=0)
        if np.isfinite(mean).any():
            low, high = min(low, np.nanmin(mean)), max(high, np.nanmax(mean))
    axes.set_xlabel(chart.axis, parse_math=False)
    axes.set_ylabel(chart.title, parse_math=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    if chart.is_loss and low > 0 and high > LOG_ABOVE * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if chart.levels:
        levels = sorted(set().union(*(x for curves in chart.curves.values() for x in curves)))
        if levels[0] > 0 and levels[-1] > LOG_ABOVE * levels[0]:
            axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(levels))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _bounds(chart: Chart) -> tuple[float, float]:
    low, high = chart.limits
    return -inf if low is None else low, inf if high is None else high


def _draw(
    axes: Axes, line: Line, x: NDArray[np.float64], y: NDArray[np.float64], dots: bool
) -> None:
    """A line with dots, or with one at each value that stands alone between two gaps."""
    gap = np.pad(np.isnan(y), 1, constant_values=True)
    alone = gap[:-2] & gap[2:]
    axes.plot(
        x,
        y,
        color=line.colour,
        linestyle=line.style,
        linewidth=LINE_WIDTH,
        marker="o",
        markersize=4,
        markevery=None if dots else alone.tolist(),
    )


def _mean_and_deviation(
    curves: Sequence[Curve],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Where, the mean over seeds and the sample standard deviation; NaN where undefined."""
    x = sorted(set().union(*curves))
    seeds = [
        [value for curve in curves if (value := curve.get(at)) is not None and isfinite(value)]
        for at in x
    ]
    mean = [fmean(values) if values else nan for values in seeds]
    deviation = [stdev(values) if len(values) > 1 else nan for values in seeds]
    return np.array(x, float), np.array(mean, float), np.array(deviation, float)


def inline(figure: Figure, prefix: str) -> Markup:
    """The figure as SVG inside HTML.

    matplotlib draws its identifiers at random unless a process-wide setting is changed; here they
    are numbered, so charts on one page do not clash and the same report gives the same bytes.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    numbers: dict[str, str] = {}

    def numbered(match: re.Match[str]) -> str:
        return match[1] + numbers.setdefault(match[2], f"{prefix}-{len(numbers)}")

    return Markup(re.sub(r'(\bid="|href="#|url\(#)([^")]+)', numbered, svg))
