"""Figures of the study's results."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nowcast.core.report.charts import COLOURS
from nowcast.core.report.forest import MARKERS, STYLES, Forest, ForestRow, figure_of_forests
from nowcast.core.scoring.interval import t_interval
from scripts.study import outcomes
from scripts.study.design import CONTROLS, METHODS, PRIMARY, REFERENCE, Cell
from scripts.study.effects import BOUND, Effect, effect, paired
from scripts.study.outcomes import HOME, Row

Tables = Mapping[Cell, Sequence[Row]]

SIDES = ("better", "worse")
LEGEND = 0.45  # inches
COLOUR = dict(zip((*METHODS, *CONTROLS, "MEmeL-hidden"), COLOURS[1:], strict=False))


def title(cell: Cell) -> str:
    """Of a plot."""
    return f"width {cell.width:g}, {cell.steps} steps"


def at_home(rows: Sequence[Row], stage: str) -> dict[str, Effect]:
    """Every variant of a stage against the network without any method, controls too."""
    values = outcomes.of_column(rows, HOME)
    reference = values[f"{stage}-{REFERENCE}"]
    return {
        variant: effect(paired(of, reference), "", "", stage, variant, REFERENCE, HOME)
        for name, of in values.items()
        for variant in [name.removeprefix(f"{stage}-")]
        if name.startswith(f"{stage}-") and variant != REFERENCE
    }


def of_home(tables: Tables, stage: str) -> Figure:
    """Effects on the error at home, a plot a cell, with intervals over seeds and over blocks."""
    forests = []
    for cell, rows in tables.items():
        drawn = []
        for method, found in at_home(rows, stage).items():
            blocks = outcomes.by_block(rows, f"{stage}-{method}", f"{stage}-{REFERENCE}")
            intervals = {
                "seeds": (found.low, found.high),
                "blocks": t_interval(blocks)[1:],
            }
            drawn.append(ForestRow(method, found.mean, intervals))
        forests.append(Forest(title(cell), drawn, SIDES, BOUND))
    return _with_legend(figure_of_forests(forests, LEGEND), ("seeds", "blocks"))


def of_transfer(found: Sequence[Effect], cells: Sequence[Cell], stage: str) -> Figure:
    """Effects on the error abroad, and by how much they are more than at home; a plot a cell."""
    forests = []
    for cell in cells:
        own = [
            each
            for each in found
            if (each.hypothesis, each.cell, each.stage) == ("H3", cell.name, stage)
        ]
        rows = [
            ForestRow(f"{each.method}, {each.outcome}", each.mean, {"seeds": (each.low, each.high)})
            for each in own
        ]
        forests.append(Forest(title(cell), rows, SIDES, BOUND))
    return _with_legend(figure_of_forests(forests, LEGEND), ("seeds",))


def of_size(tables: Tables) -> Figure:
    """Effects in pretraining against the width, and against the length of training."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    width, length = figure.subplots(1, 2, sharey=True)
    _against(width, tables, "width", [cell for cell in tables if cell.steps == PRIMARY.steps])
    _against(length, tables, "steps", [cell for cell in tables if cell.width == PRIMARY.width])
    width.set_ylabel("change of the error, %")
    length.legend(frameon=False)
    return figure


def _against(axes: Axes, tables: Tables, size: str, cells: Sequence[Cell]) -> None:
    axes.axhspan(-BOUND, BOUND, color="#8a8f96", alpha=0.25, linewidth=0)
    axes.axhline(0, color="#1b1f24", linewidth=1)
    cells = sorted(cells, key=lambda cell: float(getattr(cell, size)))
    for place, method in enumerate((*METHODS, "sham")):
        found = [at_home(tables[cell], "P")[method] for cell in cells]
        # Side by side, so that intervals can be told apart.
        places = [getattr(cell, size) * 1.03 ** (place - 1.5) for cell in cells]
        means = [each.mean for each in found]
        ends = [[each.mean - each.low for each in found], [each.high - each.mean for each in found]]
        axes.errorbar(places, means, ends, fmt="o-", color=COLOUR[method], label=method, capsize=2)
    axes.set_xscale("log", base=2)
    axes.set_xticks(
        [getattr(cell, size) for cell in cells], [f"{getattr(cell, size):g}" for cell in cells]
    )
    axes.set_xlabel({"width": "width", "steps": "steps of training"}[size])
    axes.spines[["top", "right"]].set_visible(False)


def of_monosemanticity(tables: Tables) -> Figure:
    """How a method changes the layer's monosemanticity against how it changes the error."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.axhspan(-BOUND, BOUND, color="#8a8f96", alpha=0.25, linewidth=0)
    axes.axhline(0, color="#1b1f24", linewidth=1)
    axes.axvline(0, color="#1b1f24", linewidth=1)
    for rows in tables.values():
        apart = outcomes.of_column(rows, "top_phi")
        for method, found in at_home(rows, "P").items():
            if f"P-{method}" not in apart:
                continue
            change = paired(apart[f"P-{method}"], apart[f"P-{REFERENCE}"])
            middle, low, high = t_interval(np.array(change))
            axes.errorbar(
                middle,
                found.mean,
                [[found.mean - found.low], [found.high - found.mean]],
                [[middle - low], [high - middle]],
                fmt="o",
                color=COLOUR[method],
                capsize=2,
            )
    used = [method for method in COLOUR if any(_has(rows, method) for rows in tables.values())]
    axes.legend(
        [Line2D([], [], color=COLOUR[method], marker="o", linestyle="") for method in used],
        used,
        frameon=False,
    )
    axes.set_xlabel("change of the largest scale of a sample, %")
    axes.set_ylabel("change of the error, %")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _has(rows: Sequence[Row], method: str) -> bool:
    return any(row.variant == f"P-{method}" and "top_phi" in row.values for row in rows)


def _with_legend(figure: Figure, kinds: Sequence[str]) -> Figure:
    figure.legend(
        [Line2D([], [], color=STYLES[kind].colour, marker=MARKERS[kind]) for kind in kinds],
        [f"95 % over {kind}" for kind in kinds],
        loc="lower left",
        ncols=len(kinds),
        frameon=False,
    )
    return figure
