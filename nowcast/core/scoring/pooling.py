"""Two ways to say one number over several parts of a data set, which differ and have names.

`pooled` asks how good the forecasts are over all samples together: a long part counts more.
`block_mean` asks how good they are in a part on average: each counts the same, however long.
"""

from collections.abc import Callable, Sequence

import numpy as np

from nowcast.core.scoring.sums import Scores, Sums

DEFINED = "defined_blocks"


def pooled(parts: Sequence[Sums]) -> Sums:
    """The sums over all parts together.

    Raises:
        ValueError: there is no part.
    """
    if not parts:
        raise ValueError("expected at least one part to pool, found none")
    first, *rest = parts
    return sum(rest, start=first)


def block_mean(parts: Sequence[Sums], read: Callable[[Sums], Scores]) -> Scores:
    """Each score read for every part by itself, and averaged over the parts in which it is defined.

    So are the points of curves. In the support, counts are totals over the parts, ``blocks`` is
    their number, and ``defined_blocks/NAME`` in how many of them the score NAME is defined. A
    score that is defined in none is None.

    Args:
        parts: one for each block, e.g. an episode.
        read: what the sums of one part say, e.g. `Task.read`.

    Raises:
        ValueError: there is no part.
    """
    read_parts = [read(part) for part in parts]
    whole = read(pooled(parts))
    values = {name: _mean([part.values[name] for part in read_parts]) for name in whole.values}
    defined = {
        f"{DEFINED}/{name}": sum(part.values[name] is not None for part in read_parts)
        for name in whole.values
    }
    curves = {
        name: tuple(map(_mean, zip(*(part.curves[name] for part in read_parts), strict=True)))
        for name in whole.curves
    }
    missing = [name for name in values if values[name] is None]
    missing += [name for name, curve in curves.items() if None in curve and name not in missing]
    return Scores(
        values=values,
        curves=curves,
        along=whole.along,
        axis_name=whole.axis_name,
        axis=whole.axis,
        support={**whole.support, "blocks": len(parts)} | defined,
        support_curves=whole.support_curves,
        why={name: _reasons(name, read_parts) for name in missing},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _reasons(name: str, parts: Sequence[Scores]) -> str:
    """What the parts say of a score that is undefined in every one, each reason once."""
    return "; ".join(dict.fromkeys(part.why[name] for part in parts if name in part.why))
