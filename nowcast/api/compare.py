"""Comparisons and searches from Python."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nowcast import registry
from nowcast.api import config as configs
from nowcast.api.cluster import cluster_settings
from nowcast.api.progress import shows_progress
from nowcast.api.settings import Config, Resolve, comparison_of, dotted, no_comparison
from nowcast.core.comparison.compare import compare as compare_variants
from nowcast.core.comparison.effects import effects
from nowcast.core.comparison.estimate import Planned, planned
from nowcast.core.comparison.statistics.effect import Effect
from nowcast.core.comparison.stored import Stored, read_results
from nowcast.core.errors import ConfigError, did_you_mean
from nowcast.core.execution.engines import executor_of
from nowcast.core.execution.jobs import CLUSTER, RUNS
from nowcast.core.scoring.table import Table
from nowcast.core.settings import CompareSettings, TuneSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import joined
from nowcast.core.terminal.progress import line
from nowcast.core.tuning.search import Search
from nowcast.core.tuning.selection import Selection, read_selection, search_folder
from nowcast.core.tuning.tune import lineage, run_search, tuned


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Args:
        folder: of its table, report and figures.
        is_main: False on further ranks under torchrun, which write nothing.
    """

    folder: Path
    is_main: bool = True

    @cached_property
    def stored(self) -> Stored:
        """All that its folder says: facts, notes, differences, settings."""
        return read_results(self.folder)

    @property
    def report(self) -> Path:
        """Its page."""
        return self.folder / "report.html"

    @property
    def runs(self) -> dict[str, Run]:
        """``VARIANT/seed N`` -> run."""
        return {name: Run(folder.resolve()) for name, folder in self.stored.runs.items()}

    def table(self) -> Table:
        """A row a variant or baseline, mean and standard deviation over seeds."""
        return self.stored.table

    def verdicts(self) -> list[Effect]:
        """Each variant or baseline against its reference, by each score: ``verdicts.csv``."""
        return effects(self.stored)

    def _repr_markdown_(self) -> str:
        """As a notebook shows it."""
        return f"{self.table().markdown()}\n{self.table().legend}"


@shows_progress
def compare(
    config: Config,
    out: str | Path,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    runs: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Comparison:
    """Train, score and tabulate the variants of a config over seeds; what is finished is kept.

    Args:
        config: a config with a ``compare:`` section: name, path or content, as in `train`.
        out: folder of the comparison.
        jobs: runs trained side by side, each in a process; in a script, call it under
            ``if __name__ == "__main__":`` with more than one. None: one, or all on a cluster.
        cluster: what trains them: ``dask:ADDRESS``, ``submitit``, or the path of a YAML file with
            the keys of `ClusterSettings`; None or ``processes`` is this machine.
        only: these variants and what they start from; all if empty.
        skip: not these variants.
        runs: folder of the runs, which comparisons may share; None: ``runs`` in `out`.
        overrides: dotted config keys and their values, ``{"train.steps": 100}``.
        **keywords: the same with ``__`` for the dot.

    Raises:
        ConfigError: the config is wrong, or a folder holds a run of another config.
        RunError: runs failed; all others are done.
    """
    settings, resolve = _selected(config, dotted(overrides, keywords), only, skip)
    folder = Path(out).resolve()
    with joined() as ranks:
        compare_variants(
            settings,
            resolve,
            registry.build,
            folder,
            ranks,
            jobs,
            _runs(folder, runs),
            cluster_settings(cluster),
        )
    return Comparison(folder, ranks.is_main)


@shows_progress
def plan(
    config: Config,
    out: str | Path,
    *,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    runs: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> list[Planned]:
    """What `compare` would do, with time and disk, from a few steps of each variant."""
    settings, resolve = _selected(config, dotted(overrides, keywords), only, skip)
    folder = Path(out).resolve()
    with line("timing a few steps of each variant"):
        return planned(settings, resolve, registry.build, folder, _runs(folder, runs))


@shows_progress
def tune(
    config: Config,
    out: str | Path,
    *,
    variant: str | None = None,
    storage: str | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> dict[str, Selection]:
    """Search for settings by validation scores; what is done is kept.

    Args:
        config: a config whose variants say ``tune:``, or one without ``compare:``, which is
            searched itself, over its ``tune:`` or the paper's grid of top_k and delta.
        out: folder of the comparison; searches are in ``tune`` there.
        variant: search for this one alone.
        storage: URL of a database for the trials, which machines can share.
        jobs: trials side by side, each in a process; None: one, or all on a cluster.
        cluster: what runs them, as in `compare`.
        overrides: dotted config keys and their values, ``{"train.steps": 100}``.
        **keywords: the same with ``__`` for the dot.

    Returns:
        variant -> trials and the best setting; empty on further ranks under torchrun.

    Raises:
        ConfigError: the config is wrong, or no variant is searched for.
    """
    folder, changes = Path(out).resolve(), dotted(overrides, keywords)
    executor = executor_of(cluster_settings(cluster), jobs, folder / CLUSTER)
    settings, resolve = comparison_of(config, changes)
    if settings is None:
        name = Path(resolve.source).stem
        if variant is not None:
            raise ConfigError(f"--variant: {resolve.source} has no `compare:`; leave it out")
        search = _own_search(name, resolve, folder, storage)
        searched = [name]
        with joined() as ranks:
            run_search(search, ranks, executor)
    else:
        settings, searched = _searched(settings, variant, resolve.source)
        with joined() as ranks:
            tuned(settings, resolve, registry.build, folder, ranks, storage, executor)
    if not ranks.is_main:
        return {}
    return {name: read_selection(search_folder(folder, name)) for name in searched}


def _own_search(name: str, resolve: Resolve, folder: Path, storage: str | None) -> Search:
    """The search of a config that is no comparison."""
    section = resolve.content.pop("tune", None) or {}
    settings = configs.validate(TuneSettings, section, f"{resolve.source}, section tune")
    seed = resolve({}).train.seed if settings.seed is None else settings.seed
    settings = settings.model_copy(update={"seed": seed})
    base = {"train.seed": seed}
    return Search(
        name, settings, base, resolve, registry.build, search_folder(folder, name), storage
    )


def _searched(
    settings: CompareSettings, variant: str | None, source: str
) -> tuple[CompareSettings, list[str]]:
    """The part of a comparison that is needed for its searches, or for one of them."""
    searched = settings.searched
    if not searched or (variant is not None and variant not in searched):
        raise ConfigError(
            f"{source}: expected a variant with `tune:`{f', {variant}' if variant else ''}; "
            f"found {', '.join(searched) or 'none'}{did_you_mean(variant, searched)}"
        )
    if variant is None:
        return settings, searched
    family = {name: settings.variants[name] for name in lineage(settings, variant)}
    kept = settings.model_copy(update={"variants": family})
    return kept, [name for name in searched if name in family]


def _selected(
    config: Config, changes: Mapping[str, Any], only: Collection[str], skip: Collection[str]
) -> tuple[CompareSettings, Resolve]:
    settings, resolve = comparison_of(config, changes)
    if settings is None:
        raise no_comparison(resolve)
    return settings.selected(only, skip), resolve


def _runs(out: Path, runs: str | Path | None) -> Path:
    return (out / RUNS if runs is None else Path(runs)).resolve()
