"""What an audit leaves in its folder: figures as JSON, and a picture of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nowcast.core.audit import ablation
from nowcast.core.audit.inhibition import Inhibition, Mean
from nowcast.core.storage.files import write_json, write_whole
from nowcast.core.system.machine import when_and_where

INHIBITION = "inhibition"
NEURONS = "neurons"


def write_inhibition(folder: Path, rows: Sequence[Inhibition], facts: Mapping[str, Any]) -> None:
    """Write ``inhibition.json`` (each method's means with their intervals) and ``.png``.

    Args:
        folder: made if need be.
        rows: of `audit_inhibition`.
        facts: what was audited.
    """
    methods = [_plain(asdict(row)) for row in rows]
    content = {**facts, **when_and_where(), "methods": methods}
    write_json(folder / f"{INHIBITION}.json", content)
    _draw_inhibition(folder / f"{INHIBITION}.png", rows)


def write_neurons(folder: Path, found: ablation.Ablation, facts: Mapping[str, Any]) -> None:
    """Write ``neurons.json`` (sites, and a row a neuron and group), ``.csv`` and ``.png``.

    Args:
        folder: made if need be.
        found: of `audit_neurons`.
        facts: what was audited.
    """
    rows = [_plain(asdict(row)) for row in found.rows]
    sites = {
        name: {"share_standing_out": site.share, **_plain(asdict(site))}
        for name, site in found.sites.items()
    }
    content = {
        **facts,
        **when_and_where(),
        "left_out": found.left_out,
        "selectivity": sites,
        "rows": rows,
    }
    write_json(folder / f"{NEURONS}.json", content)
    ablation.write_csv(folder / f"{NEURONS}.csv", found.rows)
    ablation.draw(folder / f"{NEURONS}.png", found)


def _plain(value: Any) -> Any:
    """The same for JSON: a number that is not finite, since nothing could be measured, is null."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _draw_inhibition(path: Path, rows: Sequence[Inhibition]) -> None:
    """Both ratios of every method with their 95 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.8 + 0.4 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    titles: dict[str, list[Mean]] = {
        "Decrease Ratio (above 0: less monosemantic)": [row.decrease for row in rows],
        "Decrease Ratio less Original's": [row.against_original for row in rows],
        "Total Update Ratio": [row.update for row in rows],
    }
    for axes, (title, means) in zip(panels, titles.items(), strict=True):
        values = [mean.value for mean in means]
        axes.errorbar(
            values,
            range(len(rows)),
            xerr=[mean.high - mean.value for mean in means],
            fmt="o",
            ms=6,
            capsize=3,
            color="black",
        )
        axes.axvline(0, color="0.6", lw=0.8)
        axes.grid(axis="x", alpha=0.3)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(title, fontsize=9)
    panels[0].set_yticks(range(len(rows)), [row.method for row in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    count = f"{rows[0].neurons} values of {rows[0].batches} batches" if rows else "nothing"
    figure.supxlabel(f"{count}; bars are 95 % intervals over batches", fontsize=8)
    write_whole(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130))
