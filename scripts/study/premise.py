"""The paper's premise: do neurons that stand out matter less in a wider network?

How the rise of the loss (`outcomes.rise`) changes with the width, from the tables of `outcomes`.
"""

from pathlib import Path

import numpy as np

from scripts.study.effects import WIDTHS, Effect, effect
from scripts.study.outcomes import AUDITED, RISE, BySeed, read


def rises(results: Path) -> dict[float, BySeed]:
    """Width -> seed -> per cent, of the runs in which a neuron stands out."""
    return {
        cell.width: {
            row.seed: row.values[RISE]
            for row in read(results / cell.file)
            if row.variant == AUDITED and RISE in row.values
        }
        for cell in sorted(WIDTHS, key=lambda cell: cell.width)
    }


def slope(by_width: dict[float, BySeed]) -> Effect | None:
    """Change of the rise per doubling of the width, one fit a seed; None with fewer than two."""
    seeds = set.intersection(*(set(of) for of in by_width.values()))
    fitted = [
        float(np.polyfit(np.log2(list(by_width)), [of[seed] for of in by_width.values()], 1)[0])
        for seed in sorted(seeds)
    ]
    if len(fitted) < 2:
        return None
    return effect(fitted, "premise", "width", "P", "Original", "", "rise")


def sentence(found: Effect | None) -> str:
    """The slope, for people."""
    if found is None:
        return "too few seeds with neurons that stand out at every width"
    return (
        f"{found.mean:+.3g} % per doubling of the width (95 % {found.low:.3g} to "
        f"{found.high:.3g}), {found.seeds} seeds"
    )
