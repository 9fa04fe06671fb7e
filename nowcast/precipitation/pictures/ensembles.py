"""Pictures of how far an ensemble's probabilities can be believed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from nowcast.core.report.charts import LINE_WIDTH, lines
from nowcast.core.terminal.plain import add_legend
from nowcast.precipitation.units import THRESHOLD_NAMES
from nowcast.precipitation.verification.ensembles.events import COMMON_SHARE

Diagrams = Mapping[str, Mapping[str, Any]]  # ensemble -> its `diagrams`


def reliability_diagram(found: Diagrams) -> Figure:
    """Observed frequency over forecast probability, one panel a threshold, all lead times.

    On the diagonal a forecast of 40 % comes true in 40 % of the cases; below it the forecast says
    so too often. A bin with less than 1 % of the cases is a small dot. Below, how often each
    probability is forecast.
    """
    count = len(THRESHOLD_NAMES)
    figure = Figure(figsize=(2.6 * count, 4.4), layout="constrained")
    panels = figure.subplots(2, count, sharex=True, sharey="row", height_ratios=(3, 1))
    shown: dict[str, Artist] = {}
    for (upper, lower), name in zip(panels.T, THRESHOLD_NAMES, strict=True):
        upper.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8)
        for ensemble, line in lines(found).items():
            of = found[ensemble]["reliability"][name]
            x, cases = np.array(of["probability"]), np.array(of["cases"])
            y = np.array(of["observed"], float)
            common = cases >= COMMON_SHARE * max(1, cases.sum())
            style = {"color": line.colour, "linestyle": line.style, "linewidth": LINE_WIDTH}
            (shown[ensemble],) = upper.plot(x, y, **style)
            upper.plot(x[common], y[common], "o", color=line.colour, markersize=5)
            upper.plot(x[~common], y[~common], "o", color=line.colour, markersize=2)
            lower.plot(x, np.where(cases > 0, cases, np.nan), **style)
        upper.set_title(f"≥ {name} mm/h", fontsize=10)
        upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        lower.set_yscale("log")
        lower.set_xlabel("forecast probability")
    panels[0][0].set_ylabel("observed frequency")
    panels[1][0].set_ylabel("pixels")
    add_legend(figure, shown, loc="outside right upper", fontsize=8)
    return figure


def rank_histogram(found: Diagrams) -> Figure:
    """How often the truth has each rank among the members, per what a flat histogram has.

    Ends above 1: the truth is too often beyond all members, which are too alike. A slope: they are
    too wet (low ranks) or too dry.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    shown: dict[str, Artist] = {}
    for ensemble, line in lines(found).items():
        ranks = np.array(found[ensemble]["ranks"], float)
        share = ranks * len(ranks) / max(1.0, ranks.sum())
        (shown[ensemble],) = axes.step(
            np.linspace(0, 1, len(ranks) + 1),
            np.append(share, share[-1]),
            where="post",
            color=line.colour,
            linestyle=line.style,
            linewidth=LINE_WIDTH,
        )
    axes.axhline(1, color="#bbbbbb", linewidth=0.8)
    axes.set(xlim=(0, 1), xlabel="rank of the truth among the members, from below all to above all")
    axes.set_ylabel("frequency / that of a flat histogram")
    axes.set_ylim(bottom=0)
    add_legend(figure, shown, loc="outside right upper", fontsize=8)
    return figure
