"""What breaks when a neuron is silenced: neurons that stand out for one group of samples alone.

Wang et al. 2024, figures 1 and 2: a monosemantic neuron responds to one feature, and without it the
loss rises on the samples with that feature.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nowcast.core.checkpoint import write_whole
from nowcast.core.errors import ConfigError
from nowcast.core.interval import t_interval
from nowcast.core.memel import MEmeL

Unit = Literal["channel", "position"]
LEAST_SAMPLES = 3  # of a group: fewer give no spread to measure a difference in


@dataclass(frozen=True)
class Response:
    """One neuron in one group of samples.

    Args:
        site: name of the module.
        neuron: its number among the channels, or row-major among the positions.
        group: of samples.
        samples: in the group.
        mean: response, in the mean over calls (and positions of a channel) and samples.
        d: mean in the group minus the median of the groups' means, in standard deviations within
            groups.
        stands_out: whether |d| reaches the threshold in this group and in no other.
        loss: mean over the group's samples with the model untouched.
        increase: of the loss when the neuron is held at its mean; `low`, `high`: 95 % t interval.
    """

    site: str
    neuron: int
    group: str
    samples: int
    mean: float
    d: float
    stands_out: bool
    loss: float
    increase: float
    low: float
    high: float


def matching_sites(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Sockets and MEmeL layers whose names match; ConfigError names what there is."""
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Identity | MEmeL)]
    found = [name for name in names if any(fnmatchcase(name, p) for p in patterns)]
    if not found:
        raise ConfigError(
            f"--site: nothing matches {', '.join(patterns)}; sites are {', '.join(names)}"
        )
    return found


def audit_neurons(
    model: nn.Module,
    sites: Sequence[str],
    samples: Callable[[], Iterable[Any]],
    loss: Callable[[nn.Module, Any], Tensor],
    group: Callable[[Any], str],
    unit: Unit = "channel",
    top: int = 5,
    threshold: float = 2.0,
) -> list[Response]:
    """Find the `top` neurons that stand out most for one group, and silence them one at a time.

    Args:
        model: put into evaluation mode.
        sites: modules whose outputs ``batch first *rest`` are looked at.
        samples: gives the same batches of one sample at every call.
        loss: of one of them.
        group: of one of them.
        unit: a channel is the mean over its positions; or every position is a neuron.
        top: how many neurons are silenced; those that stand out come first.
        threshold: |d| from which a neuron stands out for a group.

    Raises:
        ConfigError: fewer than two groups have at least `LEAST_SAMPLES` samples.
    """
    model.eval()
    names: list[str] = []
    losses: list[float] = []
    sums: dict[str, tuple[int, NDArray[np.float64], NDArray[np.float64]]] = {}
    with torch.no_grad():
        for sample in samples():
            with _responses(model, sites, unit) as seen:
                losses.append(float(loss(model, sample)))
            response = np.concatenate([np.mean(calls, axis=0) for calls in seen.values()])
            widths = [len(calls[0]) for calls in seen.values()]
            names.append(group(sample))
            count, total, squares = sums.get(names[-1], (0, 0.0 * response, 0.0 * response))
            sums[names[-1]] = (count + 1, total + response, squares + response**2)
    groups = sorted(name for name, (count, *_) in sums.items() if count >= LEAST_SAMPLES)
    if len(groups) < 2:
        counts = ", ".join(f"{name}: {count}" for name, (count, *_) in sorted(sums.items()))
        raise ConfigError(
            f"expected at least 2 groups of {LEAST_SAMPLES} samples or more, found "
            f"{counts or 'no'} samples; take another feature or a longer split"
        )
    counts_of = np.array([sums[name][0] for name in groups])
    totals = np.stack([sums[name][1] for name in groups])
    squares_of = np.stack([sums[name][2] for name in groups])
    d = _standardised(counts_of, totals, squares_of)
    sizes = np.sort(np.abs(d), axis=0)
    alone = (sizes[-1] >= threshold) & (sizes[-2] < threshold)
    order = np.lexsort((-(sizes[-1] - sizes[-2]), ~alone))[:top]
    starts = np.concatenate(([0], np.cumsum(widths)))
    plain, labels = np.array(losses), np.array(names)
    rows: list[Response] = []
    for place in order:
        which = int(np.searchsorted(starts, place, side="right")) - 1
        neuron = int(place - starts[which])
        level = float(totals[:, place].sum() / counts_of.sum())
        with _silenced(model, sites[which], neuron, level, unit), torch.no_grad():
            rise = np.array([float(loss(model, sample)) for sample in samples()]) - plain
        for position, name in enumerate(groups):
            mine = labels == name
            mean, low, high = t_interval(rise[mine])
            out = bool(alone[place]) and abs(float(d[position, place])) >= threshold
            rows.append(
                Response(
                    sites[which],
                    neuron,
                    name,
                    int(counts_of[position]),
                    float(totals[position, place] / counts_of[position]),
                    float(d[position, place]),
                    out,
                    float(plain[mine].mean()),
                    mean,
                    low,
                    high,
                )
            )
    return rows


def _standardised(
    counts: NDArray[np.int64], totals: NDArray[np.float64], squares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``group neuron``: a group's mean minus the median one, over the deviation within groups.

    Against the median and not the mean of the others, which one group far off would draw away.
    """
    n = counts[:, None]
    within = (squares - totals**2 / n).clip(0).sum(0) / max(counts.sum() - len(counts), 1)
    difference = totals / n - np.median(totals / n, axis=0)
    # Where nothing varies within the groups a difference would be infinite: no neuron responds so
    # but one that is constant, up to rounding.
    floor = 1e-6 * np.sqrt(squares.sum(0) / n.sum())
    found: NDArray[np.float64] = np.divide(
        difference, np.sqrt(within), out=np.zeros_like(difference), where=np.sqrt(within) > floor
    )
    return found


@contextmanager
def _responses(
    model: nn.Module, sites: Sequence[str], unit: Unit
) -> Iterator[dict[str, list[NDArray[np.float64]]]]:
    """The response of every neuron of every site at each call while the block runs."""
    seen: dict[str, list[NDArray[np.float64]]] = {site: [] for site in sites}

    def look(site: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            values = output.double().mean(0)
            values = values.flatten(1).mean(1) if unit == "channel" and values.dim() > 1 else values
            seen[site].append(values.flatten().cpu().numpy())

        return hook

    hooks = [model.get_submodule(site).register_forward_hook(look(site)) for site in sites]
    try:
        yield seen
    finally:
        for handle in hooks:
            handle.remove()


@contextmanager
def _silenced(model: nn.Module, site: str, neuron: int, level: float, unit: Unit) -> Iterator[None]:
    def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        silenced = output.clone(memory_format=torch.contiguous_format)
        if unit == "channel":
            silenced[:, neuron] = level
        else:
            silenced.flatten(1)[:, neuron] = level
        return silenced

    handle = model.get_submodule(site).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def write_csv(path: Path, rows: Sequence[Response]) -> None:
    """One line per neuron and group."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Response)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)

    write_whole(path, write)


def draw(path: Path, rows: Sequence[Response]) -> None:
    """Response and loss increase of every silenced neuron by group, as PNG."""
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(row.group for row in rows))
    neurons = list(dict.fromkeys((row.site, row.neuron) for row in rows))
    figure = Figure(figsize=(11, 1.6 + 0.45 * len(groups)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for number, (site, neuron) in enumerate(neurons):
        mine = {row.group: row for row in rows if (row.site, row.neuron) == (site, neuron)}
        y = np.arange(len(groups)) + 0.7 * (number / max(len(neurons) - 1, 1) - 0.5)
        marked = any(row.stands_out for row in mine.values())
        label = f"{site} {neuron}{'' if marked else ' (does not stand out)'}"
        left.plot([mine[g].d for g in groups], y, "o", ms=5, label=label)
        middle = np.array([mine[g].increase for g in groups])
        spread = [mine[g].increase - mine[g].low for g in groups]
        right.errorbar(middle, y, xerr=spread, fmt="o", ms=5, capsize=2)
    samples = {row.group: row.samples for row in rows}
    left.set_yticks(np.arange(len(groups)), [f"{g} (n={samples[g]})" for g in groups])
    left.set_xlabel("response: d against the median group")
    right.set_xlabel("loss increase when silenced (95 % interval)")
    for axes in (left, right):
        axes.axvline(0, color="0.6", lw=0.8)
        axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=min(len(neurons), 3), fontsize=8)
    write_whole(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130))
