"""Is monosemanticity inhibited? What one update does to the values that were picked (Table 4).

Wang et al. 2024, section 4.3: the most monosemantic values are picked on a batch, the model is
updated once on it and sees it again; how far have those neurons come nearer to their means?
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nowcast.core.memel.layer import MEmeL, inhibit, most_monosemantic
from nowcast.core.memel.masks import FindMask
from nowcast.core.memel.modes import in_mode
from nowcast.core.memel.plug import passed, plugged, unplug
from nowcast.core.memel.scale import INELIGIBLE, monosemantic_scale
from nowcast.core.scoring.interval import t_interval
from nowcast.core.settings import MEmeLSettings, OptimSettings, RunSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import CPU
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.progress import line
from nowcast.core.training import optim
from nowcast.core.training.checkpoint import load_weights
from nowcast.core.training.task import Task
from nowcast.core.training.trainer import build_model

STATISTICS_BATCHES = 5  # seen by the layers of an audited model before it
STATISTICS_STEP = 10**6  # the draw they begin at: not those that are audited

# delta of each way to deactivate; None leaves the values as they are.
METHODS: Mapping[str, float | None] = {
    "Original": None,
    "Naive (a)": 0.0,
    "Naive (b)": -1.0,
    "Reversed Deactivation": 1.0,
}


class TooFewBatches(ValueError):
    """The picked values came from fewer batches than an interval needs."""


@dataclass(frozen=True)
class Mean:
    """A mean over batches and its 95 % interval (Student's t over the batches)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """E.g. ``0.0123 ± 0.0022``: the interval lies evenly around the mean."""
        return f"{self.value:.3g} ± {self.high - self.value:.2g}"


@dataclass(frozen=True)
class Inhibition:
    """What one update did to the picked values with one method.

    Args:
        method: a key of `METHODS`.
        neurons: values picked, over all batches.
        batches: updates made, each from the same weights.
        decrease: Decrease Ratio ``1 - phi(z') / phi(z)``; above 0 is less monosemantic.
        update: Total Update Ratio ``|z' / z - 1|``.
        against_original: decrease minus that of Original on the same batches.
    """

    method: str
    neurons: int
    batches: int
    decrease: Mean
    update: Mean
    against_original: Mean


def audited_model(
    task: Task, settings: RunSettings, run: Run | None, device: torch.device = CPU
) -> nn.Module:
    """A model with MEmeL layers that have seen enough to be audited, and have inhibited nothing.

    Args:
        task: built from the settings.
        settings: their `memel` section says where the layers sit; without one the task does.
        run: whose best weights are taken; None takes fresh ones.
        device: of the model.
    """
    memel = settings.memel or MEmeLSettings()
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.train.seed)
        model = build_model(task, memel.model_copy(update={"late_start": 10**9}))
        if run is not None:
            load_weights(run.best_weights, model)
        model.to(device).train()
        with torch.no_grad():
            batches = task.training_batches(STATISTICS_STEP, Ranks())
            for batch in islice(batches, STATISTICS_BATCHES):
                task.loss(model, batch.to(device))
    return model


def single_update(settings: OptimSettings) -> Callable[[nn.Module], None]:
    """One step of a fresh optimiser on the gradients in a model."""

    def update(model: nn.Module) -> None:
        optimiser = optim.optimiser(model, settings)
        optim.set_rate(optimiser, settings.lr)
        optim.clip(model, settings)
        optimiser.step()

    return update


@dataclass
class _Calls:
    """The calls of all sites in one forward pass, in their order."""

    chosen: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    scales: list[Tensor] = field(default_factory=list)


def audit_inhibition(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[nn.Module, Any], Tensor],
    update: Callable[[nn.Module], None],
    neurons: int = 10_000,
    mask: FindMask | None = None,
) -> list[Inhibition]:
    """Pick, update once and look again, for every method, from the same weights each time.

    The statistics stand still, and the second pass inhibits the same neurons as the first, so
    that nothing but the update moves a value.

    Args:
        model: with MEmeL layers whose statistics are settled; it is left without them, and in
            the mode it was in.
        batches: one update each, until there are `neurons` picked values.
        loss: of a model on a batch.
        update: one optimiser step on the gradients in the model; called afresh for every update.
        neurons: how many values to pick.
        mask: as `plug_in` takes it: what is not there is not picked.

    Raises:
        ValueError: the model has no MEmeL layer.
        TooFewBatches: one, which gives no interval.
    """
    layers = plugged(model)
    if not layers:
        raise ValueError("the audit needs a model with MEmeL layers; plug_in(model, sites) first")
    unplug(model)
    start = copy.deepcopy(model.state_dict())
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in METHODS}
    picked = 0
    eval_mode = in_mode(model, training=False)
    with eval_mode, line("inhibiting and updating", neurons, unit="values") as picking:
        for batch in batches:
            for method, delta in METHODS.items():
                with _hooked(model, layers, delta, None, mask) as first:
                    model.zero_grad()
                    loss(model, batch).backward()  # type: ignore[no-untyped-call]
                update(model)
                again = _hooked(model, layers, delta, first.chosen, mask)
                with again as second, torch.no_grad():
                    loss(model, batch)
                model.load_state_dict(start)
                ratios[method].append(_ratios(first, second))
            picked += sum(chosen.numel() for chosen in first.chosen)
            picking.set(min(picked, neurons), neurons)
            if picked >= neurons:
                break
    if len(ratios["Original"]) < 2:
        raise TooFewBatches(
            f"expected at least 2 batches to take an interval over, found "
            f"{len(ratios['Original'])}; allow more steps or neurons"
        )
    found = {method: np.array(pairs) for method, pairs in ratios.items()}
    plain = found["Original"][:, 0]
    return [
        Inhibition(
            method,
            picked,
            len(pairs),
            Mean(*t_interval(pairs[:, 0])),
            Mean(*t_interval(pairs[:, 1])),
            Mean(*t_interval(pairs[:, 0] - plain)),
        )
        for method, pairs in found.items()
    ]


def _ratios(first: _Calls, second: _Calls) -> tuple[float, float]:
    """Mean Decrease Ratio and Total Update Ratio of a batch; where z or phi is 0 there is none."""
    before, after = torch.cat(first.values).double(), torch.cat(second.values).double()
    phi, phi_after = torch.cat(first.scales).double(), torch.cat(second.scales).double()
    decrease = (1 - phi_after / phi)[phi > 0]
    update = (after / before - 1).abs()[before != 0]
    return float(decrease.mean()), float(update.mean())


@contextmanager
def _hooked(
    model: nn.Module,
    layers: Mapping[str, MEmeL],
    delta: float | None,
    given: list[Tensor] | None,
    mask: FindMask | None,
) -> Any:
    """Pick and inhibit at every site while the block runs, or inhibit what is given."""
    calls = _Calls()

    def look(layer: MEmeL, values: Tensor, there: Tensor | None) -> Tensor:
        samples = layer._by_sample(values)
        within = tuple(map(slice, samples.shape[1:]))
        flat, mean = samples.flatten(1), layer.running_mean[within]
        with torch.no_grad():
            variance, average = layer.running_var[within], layer.mean_variance()
            scale = monosemantic_scale(samples.detach(), mean, variance, layer.eps, average)
            present = layer._present(values, there)
            if present is not None:  # a position seen too seldom has no statistics
                settled = layer.num_batches_tracked[within] >= STATISTICS_BATCHES
                scale.masked_fill_(~(present & settled), INELIGIBLE)
            chosen = (
                most_monosemantic(scale, layer.top_k) if given is None else given[len(calls.chosen)]
            )
            picked = scale.flatten(1).gather(1, chosen)
            calls.chosen.append(chosen)
            calls.values.append(flat.detach().gather(1, chosen).flatten())
            calls.scales.append(picked.flatten())
        if delta is None:
            return values
        inhibited = inhibit(flat, mean.flatten(), chosen, delta, picked >= 0)
        return layer._unsampled(inhibited.view(samples.shape), values)

    with passed(model, {site: partial(look, layer) for site, layer in layers.items()}, mask):
        yield calls
