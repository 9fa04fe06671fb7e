"""A comparison: variants by seeds, trained once each, scored on the same samples, in one table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nowcast.core.comparison.results import is_made, report, write_results
from nowcast.core.errors import ConfigError, NowcastError, RunError
from nowcast.core.execution.cluster import ClusterSettings
from nowcast.core.execution.engines import executor_of
from nowcast.core.execution.executor import failed
from nowcast.core.execution.jobs import (
    CLUSTER,
    COMPARE,
    RUNS,
    Build,
    Job,
    Resolve,
    check_claims,
    complete,
    plan,
    settle,
)
from nowcast.core.execution.side_by_side import complete_side_by_side
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Row, Table
from nowcast.core.settings import CompareSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks, wait
from nowcast.core.system.signals import Interrupted
from nowcast.core.terminal.progress import line, say
from nowcast.core.training.task import Task, columns_of, compared
from nowcast.core.tuning.selection import read_selection, search_folder
from nowcast.core.tuning.tune import tuned, tuned_so_far


def compare(
    settings: CompareSettings,
    resolve: Resolve,
    build: Build,
    out: Path,
    ranks: Ranks,
    parallel: int | None = 1,
    runs: Path | None = None,
    cluster: ClusterSettings | None = None,
) -> Table | None:
    """Train what is not trained yet, score everything, write table and report into `out`.

    Settings that are to be searched for are searched first, with the comparison's first seed. A run
    that fails does not keep the others from being done; it is told at the end. Table and report are
    then of what is complete (`_complete_part`), and say which runs are missing.

    Args:
        settings: variants, seeds, baselines and the split they are scored on.
        resolve: dotted overrides -> the config with them.
        build: settings, and a task to share data with -> the task.
        out: folder of the comparison.
        ranks: of this process.
        parallel: how many runs are trained side by side, each in its own process; None is one, or
            as many as there are on a cluster.
        runs: folder of the runs, which other comparisons may share; None is ``out/runs``.
        cluster: an engine that trains them; None is this machine.

    Returns:
        the table; None on other ranks than the main one.

    Raises:
        ConfigError: a variant's config is invalid, or a folder holds a run of another config.
        RunError: runs failed; all others are done.
        signals.Interrupted: a signal came; the same call goes on.
    """
    runs = runs or out / RUNS
    executor = executor_of(cluster, parallel, out / CLUSTER)
    if executor is not None and ranks.size > 1:
        raise ConfigError(
            "--jobs, --cluster: runs side by side and torchrun exclude each other; use one"
        )
    searches_of = [Run(search_folder(out, name)) for name in settings.searched]
    resolve = settle(settings, resolve, runs, searches_of)
    so_far = tuned_so_far(settings, out)
    if so_far.searched:
        jobs = plan(so_far.before_searches(), resolve, runs)
        check_claims(jobs, build)
        if executor is not None:  # what needs no search goes side by side first
            complete_side_by_side(jobs, build, settings.split, executor)
    searched = settings.searched
    settings = tuned(settings, resolve, build, out, ranks, executor=executor, runs=runs)
    searches = {name: read_selection(search_folder(out, name)).note for name in searched}
    jobs = plan(settings, resolve, runs)
    task = build(jobs[0].settings, check_claims(jobs, build))
    todo = [job for job in jobs if not job.is_complete(settings.split)]
    if ranks.is_main:
        done = len(jobs) - len(todo)
        say(f"{len(jobs)} runs and baselines, {done} of them finished; folder {runs}")
    if executor is not None:
        try:
            complete_side_by_side(todo, build, settings.split, executor)
        except RunError as error:
            raise _with_results(error, settings, jobs, build, task, searches, out) from error
    scores: dict[str, dict[int | None, Scores]] = {}
    failures: dict[str, NowcastError] = {}
    left: list[str] = []
    with line("runs and baselines", len(jobs), len(jobs) - len(todo), "finished") as finished:
        for job in jobs:
            if failures and job.needs is not None and not job.needs.is_finished:
                left.append(job.title)
                continue
            task = build(job.settings, task)
            try:
                found = complete(job, task, settings.split, ranks)
            except NowcastError as error:
                if ranks.size > 1 or isinstance(error, Interrupted):
                    raise  # the other ranks know of no failure of this one's
                failures[job.title], found = error, None
            if found is not None:
                scores.setdefault(job.variant, {})[job.seed] = found
            finished.advance(by=job in todo)
    if failures:
        told = failed(failures, left)
        raise _with_results(told, settings, jobs, build, task, searches, out)
    rows = tuple(Row(name, by_seed) for name, by_seed in scores.items())
    if ranks.is_main and is_made(out, jobs, settings):
        report(out)
    elif ranks.is_main:
        with line(f"table, report and pictures of {out.name}"):
            write_results(settings, jobs, build, compared(task, COMPARE), rows, searches, out)
    wait()
    return Table(columns_of(task), rows) if ranks.is_main else None


def _with_results(
    error: RunError,
    settings: CompareSettings,
    jobs: list[Job],
    build: Build,
    task: Task,
    searches: Mapping[str, str],
    out: Path,
) -> RunError:
    """Write table and report of what is complete; the error of what is not, which says of what they
    are."""
    part, complete_jobs, missing = _complete_part(settings, jobs)
    if not complete_jobs:
        return RunError(f"{error}\nNo table: {missing}")
    scores: dict[str, dict[int | None, Scores]] = {}
    for job in complete_jobs:
        if job.scored:
            content = json.loads(job.scores_file(part.split).read_text())
            scores.setdefault(job.variant, {})[job.seed] = Scores.from_document(content)
    rows = tuple(Row(name, by_seed) for name, by_seed in scores.items())
    kept = {name: note for name, note in searches.items() if name in part.variants}
    with line(f"table, report and pictures of {out.name}, as far as it is"):
        about = compared(task, COMPARE)
        write_results(part, complete_jobs, build, about, rows, kept, out, missing)
    return RunError(f"{error}\nTable and report in {out} are not complete: {missing}")


def _complete_part(
    settings: CompareSettings, jobs: Sequence[Job]
) -> tuple[CompareSettings, list[Job], str]:
    """The part of a comparison that can be shown while runs are missing: variants with a complete
    run, and the seeds that all of these have, so that their means are over the same; no jobs where
    there is no such seed. And what is missing, in a sentence."""
    split = settings.split
    scored = [job for job in jobs if job.scored and job.seed is not None]
    seeds_of: dict[str, set[int | None]] = {}
    for job in scored:
        if job.is_complete(split):
            seeds_of.setdefault(job.variant, set()).add(job.seed)
    common = set.intersection(*seeds_of.values()) if seeds_of else set()
    kept = []
    for job in jobs if common else ():
        if job.seed is not None and job.seed not in common:
            continue
        if job.is_complete(split):
            kept.append(job)
        elif job.trains and job.run.is_finished:  # what others start from stays in the tree
            kept.append(replace(job, scored=False))
    names = {job.variant for job in kept}
    variants = {name: found for name, found in settings.variants.items() if name in names}
    seeds = tuple(seed for seed in settings.seeds if seed in common)
    missing = [job.title for job in jobs if not job.is_complete(split)]
    shown = f"shown are seeds {', '.join(map(str, seeds))}" if seeds else "nothing can be shown"
    said = (
        f"{len(missing)} of {len(jobs)} runs and baselines are missing ({', '.join(missing)}); "
        f"{shown}, those that all variants with a complete run have. The same command goes on."
    )
    return settings.model_copy(update={"seeds": seeds, "variants": variants}), kept, said
