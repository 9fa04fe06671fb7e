"""What the runs of the study came to, a table a cell: errors at home, by block and abroad, how
monosemantic sites are, and how much the loss rises when neurons are silenced.

``python -m scripts.study.outcomes OUT RESULTS CELL/seedN`` scores the runs of one seed abroad and
adds them to ``RESULTS/CELL.csv``. The tables are all that the effects are made of, and small: a
study that moves to another machine takes them along, and no seed in them is trained again.
"""

import csv
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.core.scoring.pooling import pooled
from nowcast.core.scoring.sums import Sums, load_blocks
from nowcast.core.storage.files import write_text
from nowcast.core.storage.runs import Run
from nowcast.precipitation.verification.scores import read_scores
from scripts.release.scores import error
from scripts.study import abroad
from scripts.study.coarse import ABROAD

BySeed = dict[int, float]
Outcome = dict[str, BySeed]  # variant -> seed -> value

HOME, BLOCK, AWAY = "home", "home/", "abroad/"  # columns; of a block or archive with its name
SITES = ("top_phi", "tail", "kurtosis")
RISE, SILENCED = "rise_percent", "silenced"
AUDITED, NEURONS = "P-Original", Path("premise/neurons.json")  # of a seed's folder
SUMS = "sums_valid.safetensors"
SITE = "candidate"
STEP_MINUTES = 5  # of home; the mean over lead times does not depend on it


@dataclass(frozen=True)
class Row:
    """What one run came to.

    Args:
        variant: of the comparison.
        seed: its.
        values: column -> value.
    """

    variant: str
    seed: int
    values: Mapping[str, float]


def rows_of(part: Path) -> list[Row]:
    """Those of a finished comparison that `abroad` has scored."""
    away = json.loads((part / abroad.FILE).read_text())
    found = []
    for variant, seed, folder in abroad.runs_of(part):
        values = at_home(load_blocks(folder / SUMS))
        values |= {AWAY + name: of[variant][seed]["error"] for name, of in away.items()}
        values |= _of_sites(Run(folder).history()[-1])  # of the only validation
        if (audited := part / NEURONS).is_file() and variant == AUDITED:
            values |= rise(audited)
        found.append(Row(variant, int(seed), values))
    return found


def at_home(blocks: Mapping[str, Sums]) -> dict[str, float]:
    """B-MSE + B-MAE, and what each block adds to it."""
    whole = pooled(list(blocks.values()))
    return {HOME: _error(whole)} | {
        BLOCK + name: _error(sums) * float(sums["clips"] / whole["clips"])
        for name, sums in blocks.items()
    }


def rise(neurons: Path) -> dict[str, float]:
    """The paper's premise in one run: by how many per cent the loss of a neuron's own group rises
    when it is silenced, mean over the neurons that stand out for one group, and of how many."""
    rows = [row for row in json.loads(neurons.read_text())["rows"] if row["stands_out"]]
    rises = [100 * row["increase"] / row["loss"] for row in rows]
    return {SILENCED: len(rises)} | ({RISE: float(np.mean(rises))} if rises else {})


def _error(sums: Sums) -> float:
    return error(read_scores(sums, STEP_MINUTES).values)


def _of_sites(last: Mapping[str, Any]) -> dict[str, float]:
    """Geometric means over the sites that the candidate state has in all variants."""
    sites = [of for site, of in last.get("monosemanticity", {}).items() if site.endswith(SITE)]
    return {
        number: math.exp(float(np.mean([math.log(of[number]) for of in sites])))
        for number in (SITES if sites else ())
    }


def write(path: Path, rows: Sequence[Row]) -> None:
    """A table of a cell, in the order of seeds and variants."""
    columns = sorted({column for row in rows for column in row.values})
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["variant", "seed", *columns])
    for row in sorted(rows, key=lambda row: (row.seed, row.variant)):
        values = [row.values.get(column) for column in columns]
        table.writerow(
            [row.variant, row.seed, *("" if value is None else f"{value:.8g}" for value in values)]
        )
    write_text(path, text.getvalue())


def read(path: Path) -> list[Row]:
    """The rows of a table; none where there is no table yet."""
    if not path.is_file():
        return []
    return [
        Row(
            line.pop("variant"),
            int(line.pop("seed")),
            {column: float(value) for column, value in line.items() if value},
        )
        for line in csv.DictReader(path.read_text().splitlines())
    ]


def of_column(rows: Sequence[Row], column: str) -> Outcome:
    """Logarithms of a column, of the runs that have it."""
    found: Outcome = {}
    for row in rows:
        if column in row.values:
            found.setdefault(row.variant, {})[row.seed] = math.log(row.values[column])
    return found


def away(rows: Sequence[Row]) -> Outcome:
    """Logarithm of B-MSE + B-MAE on radars that were not trained on: the mean over archives of a
    radar, and over radars."""
    by_radar: dict[str, list[Outcome]] = {}
    for each in ABROAD:
        if found := of_column(rows, AWAY + each.name):
            by_radar.setdefault(each.radar, []).append(found)
    return _mean([_mean(archives) for archives in by_radar.values()])


def by_block(rows: Sequence[Row], variant: str, reference: str) -> NDArray[np.float64]:
    """A value a block, in per cent, whose mean is by how much the error at home differs from the
    reference's, mean over seeds, and whose spread is that of the blocks: of a ratio of sums, what
    a block departs from it, so that blocks of much rain and of little may have the same effect."""
    runs = {(row.variant, row.seed): row.values for row in rows}
    seeds = [seed for name, seed in runs if name == variant and (reference, seed) in runs]
    blocks = sorted(column for column in runs[variant, seeds[0]] if column.startswith(BLOCK))
    mine, other = (
        np.array(
            [
                [runs[name, seed][block] / runs[reference, seed][HOME] for block in blocks]
                for seed in seeds
            ]
        ).mean(0)
        for name in (variant, reference)
    )
    whole = float((mine - other).sum())
    found: NDArray[np.float64] = 100 * (whole + len(blocks) * (mine - other - whole * other))
    return found


def less(one: Outcome, other: Outcome) -> Outcome:
    """The difference of two outcomes of the same runs."""
    return {
        variant: {seed: value - other[variant][seed] for seed, value in seeds.items()}
        for variant, seeds in one.items()
        if variant in other
    }


def _mean(outcomes: Sequence[Outcome]) -> Outcome:
    return {
        variant: {seed: float(np.mean([of[variant][seed] for of in outcomes])) for seed in seeds}
        for variant, seeds in outcomes[0].items()
    }


def main(out: Path, results: Path, part: str) -> None:
    """Score the runs of a seed abroad, and add what they came to."""
    abroad.score(out / part, out / abroad.FOLDER)
    path = results / f"{part.partition('/')[0]}.csv"
    new = rows_of(out / part)
    seeds = {row.seed for row in new}
    write(path, [*(row for row in read(path) if row.seed not in seeds), *new])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
