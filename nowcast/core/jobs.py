"""The jobs of a comparison: which runs there are, in which order, and how one is completed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nowcast.core.distributed import Ranks
from nowcast.core.evaluate import evaluate_blocks, pick_device
from nowcast.core.files import write_json
from nowcast.core.pooling import pooled
from nowcast.core.runs import Run
from nowcast.core.settings import CompareSettings, RunSettings
from nowcast.core.sums import Scores, save_blocks
from nowcast.core.task import Task
from nowcast.core.trainer import train, trained_model

Resolve = Callable[[Mapping[str, object]], RunSettings]
Build = Callable[[RunSettings, Task | None], Task]


@dataclass(frozen=True)
class Job:
    """One variant with one seed.

    Args:
        variant: its name in the comparison.
        seed: the seed.
        settings: its resolved config.
        run: its folder.
    """

    variant: str
    seed: int
    settings: RunSettings
    run: Run

    @property
    def title(self) -> str:
        """As shown beside the progress bar."""
        return f"{self.variant} seed {self.seed}"

    @property
    def parent(self) -> Run | None:
        """The run whose weights this one starts from."""
        start = self.settings.start_from
        return None if start is None else Run(start)

    def scores_file(self, split: str) -> Path:
        """Where the scores on a split are kept."""
        return self.run.folder / f"scores_{split}.json"

    def sums_file(self, split: str) -> Path:
        """Where the sums behind the scores are kept, block by block."""
        return self.run.folder / f"sums_{split}.safetensors"

    def is_complete(self, split: str) -> bool:
        """True once it is trained and scored."""
        return self.run.is_finished and self.is_scored(split)

    def is_scored(self, split: str) -> bool:
        """True once its scores are there; they are written last."""
        return self.scores_file(split).is_file() and self.sums_file(split).is_file()


def plan(settings: CompareSettings, resolve: Resolve, out: Path) -> list[Job]:
    """All jobs of a comparison, seed by seed, each after the one it starts from.

    Args:
        settings: variants and seeds.
        resolve: dotted overrides -> the config with them.
        out: the comparison's folder.

    Raises:
        ConfigError: a variant's config is invalid.
    """
    jobs: list[Job] = []
    for seed in settings.seeds:
        folders = {name: out / "runs" / name / f"seed{seed}" for name in settings.variants}
        for name, variant in settings.variants.items():
            parent = variant.start_from
            overrides = dict(variant.set) | {
                "train.seed": seed,
                "start_from": None if parent is None else str(folders[parent]),
            }
            jobs.append(Job(name, seed, resolve(overrides), Run(folders[name])))
    return jobs


def complete(job: Job, task: Task, split: str, ranks: Ranks, shown: bool = True) -> Scores:
    """Train a job's run and score its best weights on a split; what is done already is kept.

    Raises:
        NowcastError: as `trainer.train` does.
    """
    train(task, job.settings, job.run, ranks, job.title, shown)
    kept = job.scores_file(split)
    if job.is_scored(split):
        return Scores.from_document(json.loads(kept.read_text()))
    device = pick_device(job.settings.train.device, ranks)
    model = trained_model(task, job.settings, job.run).to(device)
    blocks = evaluate_blocks(task, model, split, ranks, device, full=False)
    scores = task.read(pooled(list(blocks.values())))
    if ranks.is_main:
        save_blocks(job.sums_file(split), blocks)
        write_json(kept, scores.document())
    return scores
