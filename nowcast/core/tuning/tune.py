"""MEmeL-Tune, and any other search: a variant's settings are selected on validation, then frozen.

Each trial is a training run of its own, resumed to the bit like any other. The test split is not
looked at; how many settings were tried is kept for the table.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import filelock

from nowcast.core.errors import ConfigError
from nowcast.core.execution.executor import Executor
from nowcast.core.execution.jobs import RUNS, Build, Job, Resolve, plan, settle
from nowcast.core.settings import CompareSettings, RangeSettings, VariantSettings
from nowcast.core.storage.near_runs import meant_run
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import pick_device
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.progress import say
from nowcast.core.training.precision import Settled, settled, warn_if_emulated
from nowcast.core.training.task import Task
from nowcast.core.training.trainer import train
from nowcast.core.tuning.search import Search, Searcher
from nowcast.core.tuning.selection import (
    Selection,
    is_done,
    read_selection,
    search_folder,
    write_selection,
)
from nowcast.core.tuning.side_by_side import search_side_by_side
from nowcast.core.tuning.trials import Trials, quiet


def tuned(
    comparison: CompareSettings,
    resolve: Resolve,
    build: Build,
    out: Path,
    ranks: Ranks,
    url: str | None = None,
    executor: Executor | None = None,
    runs: Path | None = None,
) -> CompareSettings:
    """The comparison with each variant's search replaced by what it selects, searched where it has
    not been yet.

    Args:
        comparison: its variants with `tune` are searched, in their order.
        resolve: dotted overrides -> the config with them.
        build: settings, and a task to share data with -> the task.
        out: folder of the comparison.
        ranks: of this process.
        url: of a database for the trials; without it a journal file in `out`.
        executor: runs trials side by side; None is this process, one after the other.
        runs: folder of the runs, in which parents are trained as the comparison would; None is
            ``out/runs``.

    Raises:
        ConfigError: a setting is invalid, or `out` holds another search.
        RunError: every trial failed, or a process died.
        signals.Interrupted: a signal came; the same call goes on.
    """
    runs = runs or out / RUNS
    searches = [Run(search_folder(out, name)) for name in comparison.searched]
    resolve = settle(comparison, resolve, runs, searches)
    variants = dict(comparison.variants)
    for name, variant in comparison.variants.items():
        if variant.tune is None:
            continue
        tune = variant.tune
        seed = comparison.seeds[0] if tune.seed is None else tune.seed
        tune = tune.model_copy(update={"seed": seed})
        family = {ancestor: variants[ancestor] for ancestor in lineage(comparison, name)}
        alone = comparison.model_copy(
            update={"variants": family, "seeds": (seed,), "baselines": ()}
        )
        *parents, own = plan(alone, resolve, runs)
        start = own.settings.start_from
        base = dict(variant.set) | {
            "train.seed": seed,
            "start_from": None if start is None else str(start),
        }
        folder = search_folder(out, name)
        found = run_search(
            Search(name, tune, base, resolve, build, folder, url), ranks, executor, parents
        )
        variants[name] = _with_selected(variant, found)
    return comparison.model_copy(update={"variants": variants})


def tuned_so_far(comparison: CompareSettings, out: Path) -> CompareSettings:
    """As `tuned`, where that is known; a variant still to be searched for keeps its search."""
    variants = {
        name: _with_selected(variant, read_selection(search_folder(out, name)))
        if variant.tune is not None and is_done(search_folder(out, name))
        else variant
        for name, variant in comparison.variants.items()
    }
    return comparison.model_copy(update={"variants": variants})


def _with_selected(variant: VariantSettings, found: Selection) -> VariantSettings:
    frozen = {"set": dict(variant.set) | dict(found.selected), "tune": None}
    return variant.model_copy(update=frozen)


def lineage(comparison: CompareSettings, name: str) -> list[str]:
    """A variant and all that it descends from, oldest first."""
    parent = comparison.variants[name].start_from
    return [*([] if parent is None else lineage(comparison, parent)), name]


def run_search(
    search: Search, ranks: Ranks, executor: Executor | None = None, parents: Sequence[Job] = ()
) -> Selection:
    """Do a search, or go on with it; one that is done is only read.

    Args:
        search: what and where.
        ranks: of this process.
        executor: runs trials side by side; None is this process, one after the other.
        parents: jobs to be trained before, in their order.

    Raises:
        as `tuned`.
    """
    own = Run(search.folder)
    search = _settled(search, own)
    _check(search)
    plain = search.settings({})
    task = search.build(plain, None)
    config = plain.model_dump(mode="json") | {"tune": search.tune.model_dump(mode="json")}

    def claim() -> None:
        code = plain.train.accept_code
        own.claim(config, task.data_hash(), code, plain.incidental, plain.as_now)

    if own.config_file.is_file():
        claim()
    if is_done(search.folder):
        return read_selection(search.folder)
    if ranks.size > 1:
        raise ConfigError(
            f"the search for {search.variant} and torchrun exclude each other; run `nowcast tune` "
            "without it first, with --jobs or from several machines with --storage"
        )
    warn_if_emulated(plain, pick_device(plain.train.device, ranks))
    search.folder.parent.mkdir(parents=True, exist_ok=True)
    _train_parents(search, parents, ranks)
    if plain.start_from is not None and not Run(plain.start_from).is_finished:
        raise ConfigError(
            f"start_from: expected a finished run, found none in {plain.start_from}"
            f"{meant_run(plain.start_from)}"
        )
    with search.lock:
        claim()
    # The key holds no paths, so machines that share a database have one study.
    name = f"{search.variant}-{own.origin()['key']}"
    with quiet():
        return _searched(search, name, executor, task.objective)


def _searched(
    search: Search, name: str, executor: Executor | None, objective: tuple[str, ...]
) -> Selection:
    # Processes that make the tables of a database at once would disturb each other.
    with search.lock:
        trials = Trials(name, search.tune, search.folder, search.url)
    total = search.tune.trials or search.tune.size
    say(f"{search.variant}: {total} settings to try, {len(trials.all())} begun; study {name}")
    if executor is not None:
        search_side_by_side(search, name, trials, executor)
    else:
        Searcher(search, trials).work()
    return write_selection(search.folder, search.variant, trials, objective)


def _settled(search: Search, own: Run) -> Search:
    """The search with ``train.precision: auto`` settled, the same for all of its trials."""
    plain = search.settings({})
    if plain.train.precision != "auto":
        return search
    precision = settled(plain, [own]).train.precision
    assert precision != "auto"
    return replace(search, resolve=Settled(search.resolve, precision))


def _check(search: Search) -> None:
    """Resolve the config with each value that a key may take, before hours of trials."""
    for key, searched in search.tune.space.items():
        for value in searched.examples if isinstance(searched, RangeSettings) else searched:
            search.settings({key: value})


def _train_parents(search: Search, parents: Sequence[Job], ranks: Ranks) -> None:
    task: Task | None = None
    lock = filelock.FileLock(search.folder.parent / "parents.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"another process trains what {search.variant} starts from; waiting for it")
        lock.acquire()
    try:
        for job in parents:
            task = search.build(job.settings, task)
            train(task, job.settings, job.run, ranks, job.title)
    finally:
        lock.release()
