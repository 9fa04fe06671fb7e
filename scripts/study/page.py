"""The page of the study's results, with its figures, from the tables of `outcomes`.

``python -m scripts.study.page RESULTS [SEEDS]`` writes ``index.md``, figures and ``effects.csv``
beside the tables. Cells without all their seeds (or so many) are told, and no more.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nowcast.core.storage.files import write_text, write_whole
from scripts.release.pieces import table, template
from scripts.study import effects, figures, outcomes, premise
from scripts.study.design import CELLS, METHODS, PRIMARY, Cell
from scripts.study.effects import BOUND, Effect

PAPERS = (-0.5, -0.006)  # per cent: what the paper's tables say of B-MAE
WORDS = {"P": "pretraining", "T": "fine-tuning after it"}


def effect_rows(found: Sequence[Effect], hypothesis: str) -> str:
    """A table of one hypothesis."""
    return table(
        ["cell", "stage", "method", "against", "outcome", "%", "95 %", "p", "verdict"],
        [
            [
                each.cell,
                each.stage,
                each.method,
                each.against,
                each.outcome,
                f"{each.mean:+.2f}",
                f"{each.low:+.2f} to {each.high:+.2f}",
                f"{each.p_holm:.2g}",
                each.verdict,
            ]
            for each in found
            if each.hypothesis == hypothesis
        ],
    )


def sentences(found: Sequence[Effect]) -> list[str]:
    """What the study says of each method: primary cell, at home, in both stages."""
    said = []
    for each in found:
        if (each.hypothesis, each.cell) != ("H2", PRIMARY.name):
            continue
        where = f"{each.method} in {WORDS[each.stage]}"
        size = f"{each.mean:+.2f} % (95 % {each.low:+.2f} to {each.high:+.2f}, {each.seeds} seeds)"
        if each.verdict == "cannot be told":
            most = max(abs(each.low), abs(each.high))
            said.append(f"{where}: cannot be told, {size}; more than {most:.1f} % is excluded.")
        else:
            said.append(f"{where}: {each.verdict}, {size}.")
        if each.method == METHODS[0]:
            low, high = PAPERS
            inside = each.low <= high and each.high >= low
            said[-1] += (
                f" What the paper's tables say of B-MAE ({low:g} to {high:g} %) "
                f"{'is not excluded' if inside else 'is excluded'}."
            )
    return said


def page(results: Path, seeds: int | None = None) -> str:
    """The page; figures are written beside it."""
    tables = {cell: outcomes.read(results / cell.file) for cell in CELLS}
    finished = effects.finished(results, seeds)
    found = list(effects.effects(results, seeds))
    if finished:
        _draw(results, finished, found)
        write_text(results / "effects.csv", effects.as_csv(found))
    primary = outcomes.of_column(tables[PRIMARY], outcomes.HOME)
    enough = _seeds(tables[PRIMARY]) >= effects.FIRST_SEEDS
    rises = premise.rises(results)
    text: str = template("page.md.jinja", Path(__file__).parent).render(
        going=[(cell.name, _seeds(rows), cell.seeds) for cell, rows in tables.items()],
        finished=[cell.name for cell in finished],
        primary=PRIMARY in finished,
        needed=effects.seeds_needed(primary) if enough else None,
        sentences=sentences(found),
        bound=BOUND,
        hypotheses={
            name: effect_rows(found, name)
            for name in ("H1", "H2", "H3", "H4", "H5")
            if any(each.hypothesis == name for each in found)
        },
        premise=table(
            ["width", "seeds", "rise, %"],
            [
                [f"{width:g}", len(of), f"{np.mean(list(of.values())):.2f}" if of else "–"]
                for width, of in rises.items()
            ],
        ),
        slope=premise.sentence(premise.slope(rises)),
    )
    return text


def _seeds(rows: Sequence[outcomes.Row]) -> int:
    return len({row.seed for row in rows})


def _draw(results: Path, finished: dict[Cell, list[outcomes.Row]], found: Sequence[Effect]) -> None:
    for name, figure in {
        "home-p": figures.of_home(finished, "P"),
        "home-t": figures.of_home(finished, "T"),
        "transfer": figures.of_transfer(found, list(finished), "P"),
        "size": figures.of_size(finished),
        "monosemanticity": figures.of_monosemanticity(finished),
    }.items():
        write_whole(results / f"{name}.svg", partial(figure.savefig, format="svg"))


if __name__ == "__main__":
    results = Path(sys.argv[1])
    seeds = int(sys.argv[2]) if sys.argv[2:] else None
    write_text(results / "index.md", page(results, seeds))
