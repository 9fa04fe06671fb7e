"""The page of a leaderboard and its files: scores, skill, differences and who is best."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from nowcast.core.comparison.board import Board
from nowcast.core.comparison.figures import of_blocks
from nowcast.core.comparison.statistics.bootstrap import LEAST_BLOCKS, Difference
from nowcast.core.comparison.statistics.significance import contrasts, near_best
from nowcast.core.comparison.statistics.verdict import (
    LEVEL,
    MARKS,
    NOT_DISTINGUISHABLE,
    RULE,
    p_text,
)
from nowcast.core.report.page import Report, Section, write_report
from nowcast.core.report.papers import write_figures, write_latex
from nowcast.core.scoring.table import DASH, Column, Table, csv_text
from nowcast.core.storage.files import write_json, write_text

RANKS = ("Score", "Best", "Not distinguishable from it")
SKILL = (
    "Skill score: 0 at the reference, 1 for a perfect forecast, below 0 for one that is further "
    "from perfect than the reference. It is 1 - |score - perfect| / |reference - perfect|; perfect "
    "is that of the score: 0 for errors, 1 for ratios, 100 for percentages."
)


def write_leaderboard(board: Board, out: Path, pictures: Mapping[str, Path]) -> None:
    """Write ``leaderboard.json``, ``.csv``, ``.md``, ``.html``, ``differences.csv``, ``table.tex``
    and ``figures/``.

    Args:
        board: what was measured.
        out: the folder.
        pictures: caption -> a PNG or GIF file within it.
    """
    write_json(
        out / "leaderboard.json",
        [
            {
                "forecaster": name,
                **board.facts,
                **scores.document(),
                "skill": {"against": board.task.reference, **board.skill(name)},
                "mean_over_blocks": board.block_mean(name).document(),
            }
            for name, scores in board.scores.items()
        ],
    )
    rows = [asdict(found) | {"verdict": found.verdict} for found in board.differences]
    write_text(out / "differences.csv", csv_text(rows))
    write_text(
        out / "leaderboard.csv",
        csv_text(_rows(board)),
    )
    near = near_best(board.table, contrasts(board.table, board.differences))
    write_latex(out / "table.tex", board.table, near, MARKS)
    write_figures(out, of_blocks(board), list(board.parts))
    sections = [_details(board)] if board.details else []
    if len(board.scores) > 1:
        sections.append(_skills(board))
    sections += _differences(board)
    facts = {name.replace("_", " "): str(value) for name, value in board.facts.items()}
    title = f"Leaderboard on {board.facts.get('data', out.name)}"
    links = (f"![{text}]({path.relative_to(out)})\n" for text, path in pictures.items())
    text = [
        f"# {title}\n",
        "".join(f"- {name}: {value}\n" for name, value in facts.items()),
        board.table.markdown(),
        f"{board.table.legend}.\n",
        *(section.markdown() for section in sections),
        *links,
    ]
    write_text(out / "leaderboard.md", "\n".join(text))
    write_report(
        out / "leaderboard.html",
        Report(
            title=title,
            facts=facts,
            table=board.table,
            parents={},
            histories={},
            pictures={caption: path.read_bytes() for caption, path in pictures.items()},
            command="",
            sections=sections,
        ),
    )


def verdicts(board: Board) -> list[str]:
    """Of each column a line for the console: who is best, and who is not told apart from it."""
    if len(board.scores) < 2 or len(next(iter(board.parts.values()))) < LEAST_BLOCKS:
        return []
    lines = []
    for column in board.compared:
        leader = board.best(column)
        if leader is not None:
            near = ", ".join(board.near(leader, column)) or "none"
            lines.append(f"{column.title}: {leader}; {NOT_DISTINGUISHABLE} from it: {near}")
    return [*lines, f"{NOT_DISTINGUISHABLE}: p > {LEVEL} after Holm over all pairs, by blocks"]


def _rows(board: Board) -> list[dict[str, float | str | None]]:
    """The scores of each forecaster; one that has not all scores has empty ones."""
    names = dict.fromkeys(name for scores in board.scores.values() for name in scores.values)
    return [
        {"forecaster": forecaster} | {name: scores.values.get(name) for name in names}
        for forecaster, scores in board.scores.items()
    ]


def _details(board: Board) -> Section:
    """A table of further scores, one a row: they are more than a page is wide."""
    table = Table(board.details, board.table.rows)
    names, *cells = zip(*table.cells(), strict=True)
    rows = [[title, *own] for title, own in zip(table.header()[1:], cells, strict=True)]
    note = f"{table.legend}. All scores are in leaderboard.csv and .json."
    return Section("Further scores", ["Score", *names], rows, note)


def _skills(board: Board) -> Section:
    """A table of the skill of everyone but the reference."""
    columns = {each.header: each for each in (*board.task.columns, *board.details)}
    others = [name for name in board.scores if name != board.task.reference]
    skill = {name: board.skill(name) for name in others}
    rows = [
        [header, *(_two_digits(skill[name][column.score]) for name in others)]
        for header, column in columns.items()
        if column.perfect is not None
    ]
    return Section(f"Skill against {board.task.reference}", ["Score", *others], rows, SKILL)


def _differences(board: Board) -> list[Section]:
    """The tables of differences."""
    against, columns = board.task.reference, board.compared
    others = [name for name in board.scores if name != against]
    if not others:
        return []
    count = len(next(iter(board.parts.values())))
    enough = count >= LEAST_BLOCKS
    note = f"Score less that of {against}. "
    if enough:
        pairs = len(board.scores) * (len(board.scores) - 1) // 2
        note += (
            f"Intervals (95 %) and p are from {count} blocks of the samples, resampled in "
            f"pairs; p is after Holm over the pairs of this page, {pairs} where all are "
            f"defined. {RULE}"
        )
    else:
        note += (
            f"{count} of at least {LEAST_BLOCKS} blocks of the samples: too few for an "
            f"interval, so nothing here is told apart. {RULE}"
        )
    found = [
        Section(
            f"Against {against}",
            ["Score", *others],
            [
                [
                    c.title,
                    *(_cell(board.difference(name, against, c.score), c) for name in others),
                ]
                for c in columns
            ],
            note,
        )
    ]
    if not enough:
        return found
    ranks = [
        [column.title, leader, ", ".join(board.near(leader, column)) or DASH]
        for column in columns
        if (leader := board.best(column)) is not None
    ]
    more = "All pairs are in differences.csv."
    return [*found, Section("Which is best", RANKS, ranks, more)]


def _two_digits(skill: float | None) -> str:
    return DASH if skill is None else f"{skill:.2f}"


def _cell(found: Difference, column: Column) -> str:
    if found.value is None:
        return DASH
    value = f"{found.value:+.{column.digits}f}"
    if found.low is None or found.high is None:
        return value
    interval = f"({found.low:+.{column.digits}f} to {found.high:+.{column.digits}f})"
    return f"{value}\n{interval}\n{found.verdict}\n{p_text(found.p, found.p_holm)}"
