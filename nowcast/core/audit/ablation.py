"""What breaks when a neuron is silenced: neurons that stand out for one group of samples alone.

Wang et al. 2024, figures 1 and 2: a monosemantic neuron responds to one feature, and without it the
loss rises on the samples with that feature.
"""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nowcast.core.audit.responses import Unit, responses, silenced
from nowcast.core.audit.selectivity import false_killing_rates, separation
from nowcast.core.errors import ConfigError
from nowcast.core.memel.masks import FindMask
from nowcast.core.memel.modes import in_mode
from nowcast.core.scoring.interval import t_interval
from nowcast.core.storage.files import write_whole
from nowcast.core.terminal.plain import add_legend
from nowcast.core.terminal.progress import line

LEAST_SAMPLES = 3  # of a group: fewer give no spread to measure a difference in
FEW_SAMPLES = 10  # of a group: with fewer, neurons may stand out by chance, see `audit_neurons`
ROUNDING = 1e-6  # of a neuron's root mean square: a smaller deviation is float32 rounding


@dataclass(frozen=True)
class Response:
    """One neuron in one group of samples.

    Args:
        site: name of the module.
        neuron: its number among the channels, or row-major among the positions.
        group: of samples.
        samples: in the group.
        mean: response, in the mean over calls (and positions of a channel) and samples.
        deviation: of the response among the group's samples, the root of its unbiased variance.
        d: how far the group lies above (or, negative, below) all others, measured to the nearest:
            see `separation`. 0 for a group between others.
        stands_out: whether |d| reaches the threshold in this group and in no other. Of just two
            groups, which share one |d|: in that of the larger deviation, since a neuron that is
            silent in a group is constant there. Where it varies about alike in both, noise decides;
            where it is constant in both, it stands out in neither.
        loss: mean over the group's samples with the model untouched.
        increase: of the loss when the neuron is held at its mean; `low`, `high`: 95 % t interval.
    """

    site: str
    neuron: int
    group: str
    samples: int
    mean: float
    deviation: float
    d: float
    stands_out: bool
    loss: float
    increase: float
    low: float
    high: float


@dataclass(frozen=True)
class Site:
    """How selective the neurons of a site are.

    Args:
        neurons: how many it has.
        standing_out: group -> how many stand out for it.
        false_killing_rate: by the share of values inhibited; see `false_killing_rates`.
    """

    neurons: int
    standing_out: Mapping[str, int]
    false_killing_rate: Mapping[float, float]

    @property
    def share(self) -> float:
        """Of the neurons, those that stand out."""
        return sum(self.standing_out.values()) / self.neurons


@dataclass(frozen=True)
class Ablation:
    """What `audit_neurons` found.

    Args:
        rows: one per silenced neuron and group; neurons that stand out come first.
        left_out: how many samples the groups have that are too small (`LEAST_SAMPLES`) to compare.
        sites: by name.
    """

    rows: list[Response]
    left_out: dict[str, int]
    sites: dict[str, Site]

    def left_out_text(self) -> str:
        """The groups left out and their samples in a sentence; empty if there are none."""
        groups = ", ".join(f"{name} ({count})" for name, count in self.left_out.items())
        return groups and f"left out, with fewer than {LEAST_SAMPLES} samples: {groups}"


def audit_neurons(
    model: nn.Module,
    sites: Sequence[str],
    samples: Callable[[], Iterable[Any]],
    loss: Callable[[nn.Module, Any], Tensor],
    group: Callable[[Any], str],
    unit: Unit = "channel",
    top: int = 5,
    threshold: float = 2.0,
    mask: FindMask | None = None,
) -> Ablation:
    """Find the `top` neurons that stand out most for one group, and silence them one at a time.

    Beware of small groups, where neurons stand out by chance. Of those that see no feature (normal
    responses, threshold 2) it is 7 % with two groups of 3 samples, 1.4 % of 5, 0.03 % of
    `FEW_SAMPLES`; with three groups 4 %, 0.4 % and 0.001 %.

    Args:
        model: in evaluation mode while this lasts.
        sites: modules whose outputs are looked at, see `responses`.
        samples: gives the same batches of one sample at every call.
        loss: of one of them.
        group: of one of them.
        unit: what a neuron is, see `responses`.
        top: how many neurons are silenced: first those that stand out, then by how far the largest
            |d| exceeds the second.
        threshold: |d| from which a neuron stands out for a group, see `Response`. A neuron whose
            highest and lowest group both reach it is graded and stands out for neither.
        mask: finds which positions of a sequence are there, as `plug_in` takes it.

    Raises:
        ConfigError: fewer than two groups have at least `LEAST_SAMPLES` samples, or the samples
            differ in how many neurons they have.
    """
    names: list[str] = []
    losses: list[float] = []
    shifted: list[NDArray[np.float32]] = []  # responses less those to the first sample
    origin: NDArray[np.float64] | None = None
    # Count, mean and squared deviations from it, updated as Welford 1962 does: no cancellation.
    moments: dict[str, tuple[int, NDArray[np.float64], NDArray[np.float64]]] = {}
    eval_mode = in_mode(model, training=False)
    with eval_mode, torch.no_grad(), line("responses of neurons", unit="samples") as answering:
        for sample in samples():
            with responses(model, sites, unit, mask) as seen:
                losses.append(float(loss(model, sample)))
            response = np.concatenate([np.mean(calls, axis=0) for calls in seen.values()])
            widths = [len(calls[0]) for calls in seen.values()]
            origin = response if origin is None else origin
            if response.shape != origin.shape:
                raise ConfigError(
                    f"--unit {unit}: expected as many neurons in every sample, found {len(origin)} "
                    f"and then {len(response)}; take --unit channel"
                )
            names.append(group(sample))
            zero = np.zeros_like(response)
            shifted.append((response - origin).astype(np.float32))
            count, mean, squares = moments.get(names[-1], (0, zero, zero))
            shift = response - mean
            mean = mean + shift / (count + 1)
            moments[names[-1]] = (count + 1, mean, squares + shift * (response - mean))
            answering.advance()
    counts = {name: moments[name][0] for name in sorted(moments, key=_by_size)}
    groups = [name for name, count in counts.items() if count >= LEAST_SAMPLES]
    if len(groups) < 2:
        found = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise ConfigError(
            f"expected at least 2 groups of {LEAST_SAMPLES} samples or more, found "
            f"{found or 'no'} samples; take another feature or a longer split"
        )
    means = np.stack([moments[name][1] for name in groups])
    variances = np.stack([moments[name][2] / (counts[name] - 1) for name in groups])
    # What is constant is taken to vary by rounding: far from another constant, not from the same.
    floor = ROUNDING**2 * (means**2 + variances).mean(0) + np.finfo(np.float64).tiny
    floored = np.maximum(variances, floor)
    d = separation(means, floored)
    # Two groups share one |d|: only the one in which the neuron varies more is a candidate.
    sizes = np.abs(d) if len(groups) > 2 else np.abs(d) * (floored == floored.max(0))
    *_, second, largest = np.sort(sizes, axis=0)
    alone = (largest >= threshold) & (second < threshold)
    stands_out = alone & (sizes >= threshold)
    starts = np.concatenate(([0], np.cumsum(widths)))
    plain, labels = np.array(losses), np.array(names)
    rows: list[Response] = []
    for place in np.lexsort((second - largest, ~alone))[:top]:
        which = int(np.searchsorted(starts, place, side="right")) - 1
        neuron = int(place - starts[which])
        level = float(np.average(means[:, place], weights=[counts[name] for name in groups]))
        title = f"without neuron {neuron} of {sites[which]}"
        with (
            in_mode(model, training=False),
            silenced(model, sites[which], neuron, level, unit),
            torch.no_grad(),
            line(title, len(names), unit="samples") as answering,
        ):
            losses = []
            for sample in samples():
                losses.append(float(loss(model, sample)))
                answering.advance()
        rise = np.array(losses) - plain
        for position, name in enumerate(groups):
            mine = labels == name
            increase, low, high = t_interval(rise[mine])
            rows.append(
                Response(
                    site=sites[which],
                    neuron=neuron,
                    group=name,
                    samples=counts[name],
                    mean=float(means[position, place]),
                    deviation=float(np.sqrt(variances[position, place])),
                    d=float(d[position, place]),
                    stands_out=bool(stands_out[position, place]),
                    loss=float(plain[mine].mean()),
                    increase=increase,
                    low=low,
                    high=high,
                )
            )
    compared = np.isin(labels, groups)
    values = np.stack(shifted)[compared]
    summaries = {}
    for number, site in enumerate(sites):
        mine = slice(starts[number], starts[number + 1])
        by_group = zip(groups, stands_out[:, mine].sum(1).tolist(), strict=True)
        summaries[site] = Site(
            neurons=widths[number],
            standing_out={name: count for name, count in by_group if count},
            false_killing_rate=false_killing_rates(values[:, mine], labels[compared]),
        )
    left_out = {name: n for name, n in counts.items() if n < LEAST_SAMPLES}
    return Ablation(rows, left_out, summaries)


def _by_size(name: str) -> list[str | float]:
    """Sorts names as words, but the numbers in them by size: "2 to 5" before "10 to 30"."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [float(part) if place % 2 else part for place, part in enumerate(parts)]


def write_csv(path: Path, rows: Sequence[Response]) -> None:
    """One line per silenced neuron and group, with the fields of `Response`."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Response)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)

    write_whole(path, write)


def draw(path: Path, found: Ablation) -> None:
    """d and loss increase of every silenced neuron by group, as PNG; names what was left out."""
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    rows = found.rows
    groups = list(dict.fromkeys(row.group for row in rows))
    neurons = list(dict.fromkeys((row.site, row.neuron) for row in rows))
    figure = Figure(figsize=(11, 1.6 + 0.45 * len(groups)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shown: dict[str, Artist] = {}
    for number, (site, neuron) in enumerate(neurons):
        mine = {row.group: row for row in rows if (row.site, row.neuron) == (site, neuron)}
        y = np.arange(len(groups)) + 0.7 * (number / max(len(neurons) - 1, 1) - 0.5)
        marked = any(row.stands_out for row in mine.values())
        label = f"{site} {neuron}{'' if marked else ' (does not stand out)'}"
        d = np.array([mine[g].d for g in groups])
        out = [mine[g].stands_out for g in groups]
        (shown[label],) = left.plot(d, y, "o", ms=5, mfc="none", color=f"C{number % 10}")
        left.plot(d[out], y[out], "o", ms=5, color=f"C{number % 10}")
        middle = np.array([mine[g].increase for g in groups])
        spread = [mine[g].increase - mine[g].low for g in groups]
        right.errorbar(middle, y, xerr=spread, fmt="o", ms=5, capsize=2, color=f"C{number % 10}")
    samples = {row.group: row.samples for row in rows}
    left.set_yticks(np.arange(len(groups)), [f"{g} (n={samples[g]})" for g in groups])
    for text in left.get_yticklabels():
        text.set_parse_math(False)
    left.set_xlabel("response: d (0: between other groups; filled: stands out)")
    right.locator_params(axis="x", nbins=6)
    right.set_xlabel("loss increase when silenced (95 % interval)")
    for axes in (left, right):
        axes.axvline(0, color="0.6", lw=0.8)
        axes.grid(axis="x", alpha=0.3)
    figure.supxlabel(fill(found.left_out_text(), 150), fontsize=8)
    where = {"loc": "outside upper center", "ncols": min(len(neurons), 3)}
    add_legend(figure, shown, **where, fontsize=8)
    write_whole(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130))
