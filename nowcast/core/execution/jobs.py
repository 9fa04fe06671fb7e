"""The jobs of a comparison: which runs there are, in which order, and how one is completed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nowcast.core.errors import ConfigError
from nowcast.core.scoring.pooling import pooled
from nowcast.core.scoring.sums import Scores, save_blocks
from nowcast.core.settings import CompareSettings, RunSettings
from nowcast.core.storage.files import write_json
from nowcast.core.storage.runs import Run, differing_keys
from nowcast.core.system.devices import pick_device
from nowcast.core.system.distributed import Ranks, from_main
from nowcast.core.training.evaluate import evaluate_blocks
from nowcast.core.training.precision import Settled, settled
from nowcast.core.training.task import Task, compared
from nowcast.core.training.trainer import train, trained_model

Resolve = Callable[[Mapping[str, object]], RunSettings]
Build = Callable[[RunSettings, Task | None], Task]

COMPARE = "nowcast compare"  # for messages
CLUSTER = "cluster"  # what an engine leaves there: scripts and logs
RUNS = "runs"  # where a comparison's runs lie in its folder

# What a variant may set that scores another's run: it acts in evaluation, not in training.
OF_EVALUATION = {"memel.in_eval"}


@dataclass(frozen=True)
class Job:
    """One variant with one seed, or a baseline.

    Args:
        variant: its name in the comparison.
        seed: the seed; None for a baseline.
        settings: its resolved config.
        run: its folder.
        scores: the run whose weights it scores, if it trains none of its own.
        scored: whether it has a row in the table.
    """

    variant: str
    seed: int | None
    settings: RunSettings
    run: Run
    scores: Run | None = None
    scored: bool = True

    @property
    def title(self) -> str:
        """As its progress is titled."""
        return self.variant if self.seed is None else f"{self.variant} seed {self.seed}"

    @property
    def trains(self) -> bool:
        """False for a baseline, and for what scores another's run."""
        return self.seed is not None and self.scores is None

    @property
    def needs(self) -> Run | None:
        """The run that must be finished before this one can begin."""
        start = self.settings.start_from
        return self.scores or (None if start is None else Run(start))

    def config(self) -> dict[str, Any]:
        """What its folder belongs to. That a baseline is not trained is no part of it."""
        config: dict[str, Any] = self.settings.model_dump(mode="json")
        if self.seed is None:
            config = {key: config[key] for key in config.keys() - RunSettings.model_fields.keys()}
            return config | {"baseline": self.variant}
        return config

    def claim(self, data: str) -> None:
        """Make its folder, or accept it; see `Run.claim`."""
        settings = self.settings
        claimed = self.config()
        code = settings.train.accept_code
        self.run.claim(claimed, data, code, settings.incidental, settings.as_now)

    def scores_file(self, split: str) -> Path:
        """Where the scores on a split are kept."""
        return self.run.folder / f"scores_{split}.json"

    def sums_file(self, split: str) -> Path:
        """Where the sums behind the scores are kept, block by block."""
        return self.run.folder / f"sums_{split}.safetensors"

    def is_complete(self, split: str) -> bool:
        """True once it is trained and scored, as far as it is to be."""
        trained = self.run.is_finished or not self.trains
        return trained and (self.is_scored(split) or not self.scored)

    def is_scored(self, split: str) -> bool:
        """True once its scores are there; they are written last."""
        return self.scores_file(split).is_file() and self.sums_file(split).is_file()


def plan(settings: CompareSettings, resolve: Resolve, runs: Path) -> list[Job]:
    """All jobs of a comparison: baselines, then seed by seed, each after the one it needs.

    Args:
        settings: variants and seeds.
        resolve: dotted overrides -> the config with them.
        runs: the folder that they lie in.

    Raises:
        ConfigError: a variant's config is invalid.
    """
    plain = resolve({"train.seed": settings.seeds[0]})
    jobs = [
        Job(name, None, plain, Run(runs / name.replace(":", "-") / "baseline"))
        for name in settings.baselines
    ]
    for seed in settings.seeds:
        folders = {name: runs / name / f"seed{seed}" for name in settings.variants}

        def resolved(
            name: str, seed: int = seed, folders: dict[str, Path] = folders
        ) -> RunSettings:
            variant = settings.variants[name]
            parent = variant.start_from
            start = None if parent is None else str(folders[parent])
            try:
                return resolve(dict(variant.set) | {"train.seed": seed, "start_from": start})
            except ConfigError as error:
                raise ConfigError(f"variant {name}: {error}") from error

        for name, variant in settings.variants.items():
            own, scores = Run(folders[name]), None
            if variant.run_of is None:
                config = resolved(name)
            else:
                other = settings.variants[variant.run_of]
                scores = Run(folders[variant.run_of])
                changes = dict(other.set) | dict(variant.set) | {"train.seed": seed}
                config = resolve(changes | {"start_from": str(scores.folder)})
                _check_same_training(name, config, resolved(variant.run_of))
            jobs.append(Job(name, seed, config, own, scores, variant.scored))
    return jobs


def settle(
    settings: CompareSettings, resolve: Resolve, runs: Path, searches: Sequence[Run]
) -> Resolve:
    """`resolve`, but with ``train.precision: auto`` settled, to the same for all of a comparison.

    Args:
        settings: variants and seeds.
        resolve: dotted overrides -> the config with them.
        runs: the folder that the runs lie in; the first that is there decides.
        searches: folders of its searches, which decide where no run does.

    Raises:
        ConfigError: a variant's config is invalid.
    """
    jobs = [job for job in plan(settings, resolve, runs) if job.trains]
    left = [job for job in jobs if job.settings.train.precision == "auto"]
    if not left:
        return resolve
    first = settled(left[0].settings, [*(job.run for job in left), *searches])
    assert first.train.precision != "auto"
    return Settled(resolve, first.train.precision)


def check_claims(jobs: list[Job], build: Build) -> Task | None:
    """Refuse, before hours of other runs, a task that cannot be compared, and a folder that belongs
    to another config, data or code.

    Returns:
        the task of the last job; None if there is none.
    """
    task: Task | None = None
    for job in jobs:
        task = compared(build(job.settings, task), COMPARE)
        if job.run.config_file.is_file():
            job.claim(task.data_hash())
    return task


def complete(job: Job, task: Task, split: str, ranks: Ranks) -> Scores | None:
    """Train a job's run and score its best weights on a split; what is done already is kept.

    Returns:
        the scores; None for what has no row, and on other ranks than the main one.

    Raises:
        NowcastError: as `trainer.train` does.
    """
    if job.trains:
        train(task, job.settings, job.run, ranks, job.title)
    else:
        from_main(lambda: job.claim(task.data_hash()))
    if job.scored and not from_main(lambda: b"scored" if job.is_scored(split) else None):
        device = pick_device(job.settings.train.device, ranks)
        model = forecaster(job, task).to(device)
        name = job.title
        task = compared(task, COMPARE)
        blocks = evaluate_blocks(task, model, split, ranks, device, full=False, name=name)
        if ranks.is_main:
            save_blocks(job.sums_file(split), blocks)
            scores = task.read(pooled(list(blocks.values())))
            write_json(job.scores_file(split), scores.document())
    if not (job.scored and ranks.is_main):
        return None
    return Scores.from_document(json.loads(job.scores_file(split).read_text()))


def forecaster(job: Job, task: Task) -> nn.Module:
    """What a job scores: a baseline, or its trained model."""
    if job.seed is None:
        return compared(task, COMPARE).baseline(job.variant)
    return trained_model(task, job.settings, job.scores or job.run)


def _check_same_training(name: str, own: RunSettings, other: RunSettings) -> None:
    before, after = own.model_dump(mode="json"), other.model_dump(mode="json")
    differing = differing_keys(before, after, own.incidental)
    more = sorted(set(differing) - OF_EVALUATION)
    if more:
        raise ConfigError(
            f"compare.variants.{name}: scores another variant's runs, so it may set "
            f"{', '.join(sorted(OF_EVALUATION))} alone; found {', '.join(more)}. Use start_from "
            "instead of run_of to train it"
        )
