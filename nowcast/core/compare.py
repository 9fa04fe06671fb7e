"""A comparison: variants by seeds, trained once each, scored on the same samples, in one table."""

from pathlib import Path

from nowcast.core.distributed import Ranks, wait
from nowcast.core.errors import ConfigError
from nowcast.core.evaluate import evaluate_blocks, pick_device
from nowcast.core.jobs import Build, Resolve, complete, plan
from nowcast.core.log import console
from nowcast.core.pooling import pooled
from nowcast.core.results import write_results
from nowcast.core.settings import CompareSettings
from nowcast.core.sums import Scores, Sums
from nowcast.core.table import Row, Table
from nowcast.core.workers import complete_side_by_side


def compare(
    settings: CompareSettings,
    resolve: Resolve,
    build: Build,
    out: Path,
    ranks: Ranks,
    parallel: int = 1,
) -> Table:
    """Train what is not trained yet, score everything, write table and report into `out`.

    Args:
        settings: variants, seeds, baselines and the split they are scored on.
        resolve: dotted overrides -> the config with them.
        build: settings, and a task to share data with -> the task.
        out: folder of the comparison.
        ranks: of this process.
        parallel: how many runs are trained side by side, each in its own process.

    Raises:
        ConfigError: a variant's config is invalid, or a folder holds a run of another config.
        trainer.Interrupted: a signal came; the same call goes on.
    """
    jobs = plan(settings, resolve, out)
    for job in jobs:
        if job.run.config_file.is_file():
            job.run.claim(job.settings.model_dump(mode="json"))  # before hours of other runs
    todo = [job for job in jobs if not job.is_complete(settings.split)]
    if ranks.is_main:
        console.print(f"{len(jobs)} runs, {len(jobs) - len(todo)} of them finished; folder {out}")
    if parallel > 1 and len(todo) > 1:
        if ranks.size > 1:
            raise ConfigError("--jobs: runs side by side and torchrun exclude each other; use one")
        complete_side_by_side(todo, build, settings.split, parallel)
    task = build(jobs[0].settings, None)
    scores: dict[str, dict[int | None, Scores]] = {name: {} for name in settings.baselines}
    baselines: dict[str, dict[str, Sums]] = {}
    device = pick_device(jobs[0].settings.train.device, ranks)
    for name in settings.baselines:
        model = task.baseline(name).to(device)
        blocks = evaluate_blocks(task, model, settings.split, ranks, device, full=False)
        scores[name][None] = task.read(pooled(list(blocks.values())))
        baselines[name] = blocks
    for job in jobs:
        task = build(job.settings, task)
        found = complete(job, task, settings.split, ranks)
        scores.setdefault(job.variant, {})[job.seed] = found
    rows = tuple(Row(name, by_seed) for name, by_seed in scores.items())
    if ranks.is_main:
        write_results(settings, jobs, build, task, rows, baselines, out)
    wait()
    return Table(task.columns, rows)
