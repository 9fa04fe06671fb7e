"""The paper's premise: do neurons that stand out matter less in a wider network?

``python -m scripts.study.premise OUT`` reads what ``nowcast audit neurons`` has left in
``OUT/premise/CELL/SEED`` and writes ``OUT/premise.csv``: for each run the mean rise of the loss of
a neuron's own group when it is silenced, per cent, over the neurons that stand out for one group.
"""

import csv
import io
import json
import math
import sys
from pathlib import Path

import numpy as np

from nowcast.core.storage.files import write_text
from scripts.study.effects import WIDTHS, Effect, effect
from scripts.study.outcomes import BySeed

FOLDER = "premise"


def rise(neurons: Path) -> tuple[float, int]:
    """Of a run's ``neurons.json``: the mean, NaN where no neuron stands out, and of how many."""
    rows = [row for row in json.loads(neurons.read_text())["rows"] if row["stands_out"]]
    rises = [100 * row["increase"] / row["loss"] for row in rows]
    return (float(np.mean(rises)) if rises else math.nan), len(rises)


def slope(by_width: dict[float, BySeed]) -> Effect | None:
    """Change of the rise per doubling of the width, one fit a seed; None with fewer than two."""
    seeds = set.intersection(*(set(of) for of in by_width.values()))
    fitted = [
        float(np.polyfit(np.log2(list(by_width)), [of[seed] for of in by_width.values()], 1)[0])
        for seed in sorted(seeds, key=int)
    ]
    if len(fitted) < 2:
        return None
    return effect(fitted, "premise", "width", "P", "Original", "", "rise")


def main(out: Path) -> None:
    """Write the table, and say the slope."""
    text, by_width = io.StringIO(), {}
    table = csv.writer(text)
    table.writerow(["width", "seed", "rise_percent", "neurons"])
    for cell in sorted(WIDTHS, key=lambda cell: cell.width):
        found: BySeed = {}
        for path in sorted((out / FOLDER / cell.name).glob("*/neurons.json")):
            value, neurons = rise(path)
            table.writerow([cell.width, path.parent.name, f"{value:.4g}", neurons])
            if not math.isnan(value):
                found[path.parent.name] = value
        by_width[cell.width] = found
    write_text(out / "premise.csv", text.getvalue())
    told = slope(by_width)
    if told is None:
        sys.stdout.write("premise: too few seeds with neurons that stand out at every width\n")
    else:
        sys.stdout.write(
            f"premise: {told.mean:+.3g} % per doubling of the width (95 % {told.low:.3g} to "
            f"{told.high:.3g}), {told.seeds} seeds\n"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
