"""Charts for papers: scores and skill along their axis and by threshold, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from nowcast.core.comparison.board import Board
from nowcast.core.comparison.statistics.bootstrap import interval, resampled_sums
from nowcast.core.report.charts import Chart
from nowcast.core.scoring.interval import t_interval
from nowcast.core.scoring.table import Column, Table
from nowcast.core.training.task import ReadsCurves

RESAMPLES = 200  # enough for the width of a band

Interval = tuple[float, float, float]  # value, low, high; NaN: undefined
Points = Mapping[str, Mapping[float, Interval]]  # forecaster -> position -> interval


def of_seeds(table: Table) -> dict[str, Chart]:
    """Charts of a comparison by name; intervals are over seeds (Student's t), from two on."""
    charts: dict[str, Chart] = {}
    for column in table.columns:
        points, axis = {}, ""
        for row in table.rows:
            every = [scores for scores in row.scores.values() if column.score in scores.curves]
            for scores in every[:1]:
                axis = scores.axis_title
                curves = zip(*(each.curves[column.score] for each in every), strict=True)
                points[row.name] = dict(zip(scores.axis, map(_over_seeds, curves), strict=True))
        if points:
            charts[column.score] = _chart(column.title, axis, points, column.limits)
    for family, columns in _families(table.columns).items():
        by_level = {
            row.name: {
                level: _over_seeds([scores.values.get(c.score) for scores in row.scores.values()])
                for level, c in columns.items()
            }
            for row in table.rows
        }
        charts[f"{family}_by_threshold"] = _by_level(columns, by_level)
    return charts


def of_blocks(board: Board) -> dict[str, Chart]:
    """Charts of a leaderboard by name, those of skill among them; intervals are over blocks."""
    first = next(iter(board.scores.values()))
    families = _families(board.task.columns)
    if len(first.axis) < 2 and not families:
        return {}
    drawn: dict[str, dict[str, NDArray[np.float64]]] = {}
    curves: dict[str, dict[str, NDArray[np.float64]]] = {}
    task = board.task
    read_curves = task.read_curves if isinstance(task, ReadsCurves) else task.read
    for name, blocks in board.parts.items():
        read = [read_curves(sums) for sums in resampled_sums(blocks, RESAMPLES)]
        for column in board.task.columns:
            score = column.score
            values = [each.values.get(score) for each in read]
            drawn.setdefault(score, {})[name] = np.array(values, float)
            if score in read[0].curves:
                lines = [each.curves[score] for each in read]
                curves.setdefault(score, {})[name] = np.array(lines, float)
    count = len(next(iter(board.parts.values())))
    charts: dict[str, Chart] = {}
    for column in board.task.columns:
        if column.score not in curves:
            continue

        def points(own: Mapping[str, NDArray[np.float64]]) -> Points:
            return {
                name: dict(zip(first.axis, [interval(x, count) for x in each.T], strict=True))
                for name, each in own.items()
            }

        own = curves[column.score]
        charts[column.score] = _chart(column.title, first.axis_title, points(own), column.limits)
        if column.perfect is not None and len(own) > 1:
            distance = {name: abs(each - column.perfect) for name, each in own.items()}
            reference = distance.pop(board.task.reference)
            with np.errstate(divide="ignore", invalid="ignore"):
                skill = {name: 1 - each / reference for name, each in distance.items()}
            title = f"skill of {column.header}\nagainst {board.task.reference}"
            charts[f"skill_{column.score}"] = _chart(
                title, first.axis_title, points(skill), (None, 1.0)
            )
    for family, columns in families.items():
        by_level = {
            name: {level: interval(drawn[c.score][name], count) for level, c in columns.items()}
            for name in board.parts
        }
        charts[f"{family}_by_threshold"] = _by_level(columns, by_level)
    return charts


def _over_seeds(values: Sequence[float | None]) -> Interval:
    defined = np.array([value for value in values if value is not None and isfinite(value)])
    if len(defined) > 1:
        return t_interval(defined)
    return (float(defined[0]) if len(defined) else nan), nan, nan


def _families(columns: Sequence[Column]) -> dict[str, dict[float, Column]]:
    """Family -> level -> column, of two columns or more that are named ``family/number``."""
    families: dict[str, dict[float, Column]] = {}
    for family, members in groupby(columns, lambda column: column.score.partition("/")[0]):
        levels = {level: each for each in members if (level := _level(each)) is not None}
        if len(levels) > 1:
            families[family] = levels
    return families


def _level(column: Column) -> float | None:
    try:
        return float(column.score.partition("/")[2])
    except ValueError:
        return None


def _by_level(columns: Mapping[float, Column], points: Points) -> Chart:
    """The headers differ by their level: before it they name the score, after it the unit."""
    column = next(iter(columns.values()))
    before, _, unit = column.header.partition(column.score.partition("/")[2])
    title = column.title.replace(column.header, before.strip(" ≥"))
    axis = f"threshold ({unit.strip()})" if unit.strip() else "threshold"
    return _chart(title, axis, points, column.limits, levels=True)


def _chart(
    title: str,
    axis: str,
    points: Points,
    limits: tuple[float | None, float | None],
    levels: bool = False,
) -> Chart:
    curves = {name: [{at: own[0] for at, own in each.items()}] for name, each in points.items()}
    bands = {name: {at: own[1:] for at, own in each.items()} for name, each in points.items()}
    return Chart(title, axis, curves, limits=limits, bands=bands, levels=levels)
