"""What a comparison will take in time and disk, before hours of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from pathlib import Path

import torch
from torch import nn

from nowcast.core.comparison.footprint import Footprint, footprint
from nowcast.core.execution.jobs import COMPARE, Build, Job, Resolve, check_claims, plan, settle
from nowcast.core.memel.modes import evaluating
from nowcast.core.memel.plug import plugged
from nowcast.core.monitoring.monitor import Monitor
from nowcast.core.scoring.sums import Sums
from nowcast.core.settings import CompareSettings, RunSettings, VariantSettings
from nowcast.core.storage.origin import digest
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import arithmetic, pick_device
from nowcast.core.system.distributed import Ranks
from nowcast.core.training import optim
from nowcast.core.training.activations import recompute_blocks
from nowcast.core.training.gradient import backward, share
from nowcast.core.training.length import length
from nowcast.core.training.precision import warn_if_emulated
from nowcast.core.training.task import Batch, Task, compared
from nowcast.core.training.trainer import build_model
from nowcast.core.tuning.selection import search_folder
from nowcast.core.tuning.tune import tuned_so_far

TIMED_STEPS = 3  # after one that is not timed


@dataclass(frozen=True)
class Cost:
    """What one job still takes.

    Args:
        seconds: on this machine as it is now, one process.
        disk: bytes that it leaves.
        steps: of its training; 0 if there is none.
        trial_disk: bytes that it leaves as a trial of a search.
    """

    seconds: float
    disk: int
    steps: int = 0
    trial_disk: int = 0


@dataclass(frozen=True)
class _Timed:
    """Seconds of a training step and of a batch in evaluation, and what a run leaves on disk."""

    step: float
    batch: float
    leaves: Footprint


@dataclass(frozen=True)
class Planned:
    """One variant of a comparison that is planned.

    Args:
        variant: its name.
        depth: how many variants it comes from, one from the other.
        kind: of its runs, in words.
        runs: one a seed.
        complete: how many of them are.
        steps: of each.
        seconds: that the rest takes one after the other.
        disk: bytes that the rest leaves.
    """

    variant: str
    depth: int
    kind: str
    runs: int
    complete: int
    steps: int
    seconds: float
    disk: int


def planned(
    settings: CompareSettings, resolve: Resolve, build: Build, out: Path, runs: Path
) -> list[Planned]:
    """What `compare` would do, without doing it but for a few steps that are timed.

    Args:
        settings: variants, seeds and split.
        resolve: dotted overrides -> the config with them.
        build: settings, and a task to share data with -> the task.
        out: folder of the comparison.
        runs: folder of the runs.

    Raises:
        ConfigError: as `compare`.
    """
    searches = [Run(search_folder(out, name)) for name in settings.searched]
    resolve = settle(settings, resolve, runs, searches)
    settings = tuned_so_far(settings, out)
    jobs = plan(settings, resolve, runs)
    check_claims(jobs, build)
    # One trial of each search stands for all: settings of MEmeL hardly change its time.
    trials = [
        replace(job, run=Run(search_folder(out, job.variant) / "one"), scored=False)
        for job in jobs
        if job.variant in settings.searched and job.seed == settings.seeds[0]
    ]
    every = costs([*jobs, *trials], build, settings.split)
    trial_costs = {job.variant: cost for job, cost in zip(trials, every[len(jobs) :], strict=True)}
    lines = []
    for name, depth in _by_descent(settings):
        mine = [(job, cost) for job, cost in zip(jobs, every, strict=False) if job.variant == name]
        if name in trial_costs:
            lines.append(_search_line(settings, name, depth, trial_costs[name], out))
        lines.append(
            Planned(
                variant=name,
                depth=depth,
                kind=_kind(settings.variants.get(name)),
                runs=len(mine),
                complete=sum(job.is_complete(settings.split) for job, _ in mine),
                steps=mine[0][1].steps,
                seconds=sum(cost.seconds for _, cost in mine),
                disk=sum(cost.disk for _, cost in mine),
            )
        )
    return lines


def _search_line(
    settings: CompareSettings, name: str, depth: int, trial: Cost, out: Path
) -> Planned:
    tune = settings.variants[name].tune
    assert tune is not None
    count = tune.trials or tune.size or 0
    done = len(list((search_folder(out, name) / "trials").glob("*/result.json")))
    left = max(count - done, 0)
    kind = f"search on valid, {tune.sampler}"
    return Planned(name, depth, kind, count, done, 0, left * trial.seconds, left * trial.trial_disk)


def _by_descent(settings: CompareSettings) -> list[tuple[str, int]]:
    """Baselines, then each variant with its depth, right below the one it comes from."""

    def below(parent: str | None, depth: int) -> list[tuple[str, int]]:
        lines = []
        for name, variant in settings.variants.items():
            if (variant.start_from or variant.run_of) == parent:
                lines += [(name, depth), *below(name, depth + 1)]
        return lines

    return [(name, 0) for name in settings.baselines] + below(None, 0)


def costs(jobs: Sequence[Job], build: Build, split: str) -> list[Cost]:
    """What each job still takes: nothing if it is complete.

    Steps and evaluation are timed once for each size of model and batch; a baseline's evaluation
    is not counted.

    Raises:
        NowcastError: a config or its data do not work.
    """
    timed: dict[str, _Timed] = {}
    found = []
    task: Task | None = None
    for job in jobs:
        task = build(job.settings, task)
        train = job.settings.train
        run_length = length(train, task)
        steps = run_length.steps if job.trains else 0
        if job.is_complete(split) or job.seed is None:
            found.append(Cost(0.0, 0, steps))
            continue
        key = _what_is_timed(job.settings)
        if key not in timed:
            timed[key] = _timed(task, job.settings, split)
        measured = timed[key]
        batches = ceil(task.samples("valid") / train.batch_size)
        scored = ceil(task.samples(split) / train.batch_size) if job.scored else 0
        seconds, disk = scored * measured.batch, measured.leaves.scored * job.scored
        if job.trains and not job.run.is_finished:
            share = 1 - _done(job) / steps
            validating = run_length.validations * batches * measured.batch
            seconds += share * (steps * measured.step + validating)
            disk += measured.leaves.of_training(train, run_length)
        found.append(Cost(seconds, disk, steps, measured.leaves.of_trial(train, run_length)))
    return found


def _kind(variant: VariantSettings | None) -> str:
    if variant is None:
        return "baseline"
    if variant.run_of is not None:
        return "scores the same runs"
    kind = "pretraining" if variant.start_from is None else "fine-tuning"
    return kind if variant.scored else f"{kind}, no row"


def _done(job: Job) -> int:
    """Steps that a run has logged."""
    history = job.run.history()
    return int(history[-1]["step"]) if history else 0


def _what_is_timed(settings: RunSettings) -> str:
    """The config without what changes no step's time: seeds, rates, numbers of steps."""
    content = settings.model_dump(mode="json", exclude={"start_from", "optim"})
    relevant = ("batch_size", "accumulate", "checkpoint", "precision", "device")
    train = {key: content["train"][key] for key in relevant}
    return digest(content | {"train": train})


def _timed(task: Task, settings: RunSettings, split: str) -> _Timed:
    device = pick_device(settings.train.device, Ranks())
    warn_if_emulated(settings, device)
    share(settings.train, Ranks())
    generator = torch.get_rng_state()
    model = build_model(task, settings.memel).to(device)
    torch.set_rng_state(generator)
    if settings.train.checkpoint:
        recompute_blocks(model)
    optimiser = optim.optimiser(model, settings.optim)
    watched = settings.memel is not None and settings.memel.monitor
    monitor = Monitor(plugged(model) if watched else {})
    batches = list(islice(task.training_batches(0, Ranks()), 1 + TIMED_STEPS))

    def step(batch: Batch) -> None:
        optimiser.zero_grad()
        backward(task, model, batch.to(device), settings.train)
        optimiser.step()
        _finish(device)

    model.train()
    with arithmetic(settings.train.precision):
        step(batches[0])
        began = time.perf_counter()
        for place, batch in enumerate(batches[1:], 1):
            if place == TIMED_STEPS:
                monitor.arm()
            step(batch)
        training = (time.perf_counter() - began) / TIMED_STEPS
    evaluation, sums = _evaluation(task, model, device)
    task = compared(task, COMPARE)
    leaves = footprint(task, settings, model, optimiser, monitor, sums, split)
    return _Timed(training, evaluation, leaves)


def _evaluation(task: Task, model: nn.Module, device: torch.device) -> tuple[float, Sums]:
    """Seconds of a batch of the validation split, and its sums."""
    batch = next(iter(task.evaluation_batches("valid", Ranks()))).to(device)
    with evaluating(model), arithmetic():
        task.score(model, batch)
        _finish(device)
        began = time.perf_counter()
        sums = task.score(model, batch)
        _finish(device)
    return time.perf_counter() - began, sums


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
