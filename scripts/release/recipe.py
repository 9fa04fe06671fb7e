"""The trainings of a release, as one comparison that `nowcast compare` runs and goes on with.

``python -m scripts.release.recipe ARCHIVES SYNTHETIC OUT [STEPS]`` writes ``OUT/release.yaml`` and
``OUT/memel.yaml``; with so many steps a training, for a trial, if they are given.

- ``release``: pretraining on synthetic rain with MEmeL; from it the weights that ship, of all
  radars (and from these the ensemble) and of the open ones; and, shorter, one training without each
  radar, which says what the weights are worth on radar that they have never seen, and with one day
  in nine, in three and all, which says what more days would bring. All but the last have a second
  part, in which more clips look like another radar's and drizzle takes part.
- ``memel``: pretraining with and without MEmeL over five seeds, each fine-tuned without it on half
  of the radars, to be scored on the other half.
"""

import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from nowcast.core.storage.files import write_text
from nowcast.core.storage.yaml_files import dumps, loads
from scripts.release.sources import SOURCES, Source, folder_name, radars, write_lists

BASE = Path("configs/precipitation/release.yaml")
ALL, OPEN, WITHOUT, DAYS = "comoving-memel", "comoving-open", "without-", "one-day-in-"
MEMBERS = "comoving-ensemble"
STEPS = {ALL: 10_000, OPEN: 10_000, WITHOUT: 2000, DAYS: 2000, MEMBERS: 7000}
FIRST = "first-"  # part of a training
SECOND_STEPS = {ALL: 2000, OPEN: 2000, WITHOUT: 1000}
SECOND = {"optim.lr": 4.0e-4, "data.min_wet": 0.001}
LOOK = 0.35  # of the clips of the second part
OF_MEMBERS = {"model.kind": MEMBERS, "loss.members": 3, "optim.lr": 7.0e-4}
AVERAGED = 20  # weights over the last 20th of the steps
ONE_IN = (9, 3, 1)
# Pretraining sees windows of one size: MEmeL's neurons are places in them.
WINDOWS = [
    {"side": 256, "weight": 1, "fill": 0.66, "coarsen": [1, 1, 1, 2]},
    {"side": 128, "weight": 1, "fill": 0.66, "coarsen": [1, 1, 2]},
    {"side": 64, "clips": 2, "weight": 1, "fill": 0.66, "coarsen": [1, 1, 2, 3, 4]},
]
HALVES = {"west": ("DWD", "KNMI", "MRMS"), "south": ("TAASRAD19", "DPC")}
SMALL = {"train.steps": 400, "train.validate_every": 400, "train.average": 400 // AVERAGED}
SMALL_STEPS = 600
SMALL_WINDOWS = [
    {"side": 128, "weight": 1, "fill": 0.66, "coarsen": [1, 1, 2]},
    {"side": 64, "clips": 2, "weight": 1, "fill": 0.66, "coarsen": [1, 1, 2, 3, 4]},
]
SAVED_EVERY = 2000
SEEDS = [0, 1, 2, 3, 4]


def release(archives: Path, synthetic: Path, lists: Path) -> dict[str, Any]:
    """The config of ``release``; archives that are not there have no part in it.

    Args:
        archives: folder of the archives, each by its name in `SOURCES`.
        synthetic: archive of synthetic rain.
        lists: where to write day lists.
    """

    variants: dict[str, Any] = {"P-MEmeL": {"set": {"memel.delta": 1.0}, "scored": False}}
    augment = loads(BASE.read_text())["data"]["augment"]

    def tune(name: str, steps: str, sources: Iterable[Source]) -> None:
        entries = trained_on(archives, lists, sources)
        first = _tuned("P-MEmeL", entries, STEPS[steps], WINDOWS)
        variants[FIRST + name] = {**first, "scored": False}
        second = _tuned(FIRST + name, entries, SECOND_STEPS[steps], WINDOWS)
        second["set"] |= {**SECOND, "data.augment": {**augment, "look": LOOK}}
        variants[name] = second

    trained = [source for source in SOURCES if source.train]
    tune(ALL, ALL, trained)
    members = _tuned(ALL, trained_on(archives, lists, trained), STEPS[MEMBERS], WINDOWS)
    variants[MEMBERS] = {
        "start_from": ALL,
        "set": {**variants[ALL]["set"], **members["set"], **OF_MEMBERS},
    }
    tune(OPEN, OPEN, [source for source in trained if source.open])
    for radar in radars():
        others = [source for source in trained if source.radar != radar]
        tune(WITHOUT + folder_name(radar), WITHOUT, others)
    for one_in in ONE_IN:
        entries = trained_on(archives, lists, trained, one_in)
        variants[f"{DAYS}{one_in}"] = _tuned("P-MEmeL", entries, STEPS[DAYS], WINDOWS)
    return _config(archives, synthetic, {}, [0], variants)


def memel(archives: Path, synthetic: Path, lists: Path) -> dict[str, Any]:
    """The config of ``memel``."""
    variants: dict[str, Any] = {
        "P-Original": {},
        "P-MEmeL": {"set": {"memel.delta": 1.0}},
    }
    for half, of in HALVES.items():
        sources = [source for source in SOURCES if source.train and source.radar in of]
        found = trained_on(archives, lists, sources)
        for variant in ("Original", "MEmeL"):
            variants[f"T-{half}-{variant}"] = _tuned(
                f"P-{variant}", found, SMALL_STEPS, SMALL_WINDOWS
            )
    return _config(archives, synthetic, SMALL, SEEDS, variants)


def trained_on(
    archives: Path, lists: Path, sources: Iterable[Source], one_in: int = 1
) -> list[dict[str, Any]]:
    """Entries of ``data.sources``, with lists of their training days alone: the first of so many,
    and so on, but at least one of an archive."""
    entries = []
    for source in sources:
        days = source.days("train", source.found(archives))[::one_in]
        if not days:
            continue
        folder = lists / (source.name if one_in == 1 else f"{source.name}-{one_in}")
        write_lists(folder, "train", days)
        entries.append(
            {
                "root": str((archives / source.name).resolve()),
                "lists": str(folder.resolve()),
                "weight": source.weight,
                "speeds": list(source.speeds),
                "pixel_km": source.pixel_km,
            }
        )
    return entries


def missing(archives: Path) -> list[str]:
    """Archives of `SOURCES` that are not there."""
    return [source.name for source in SOURCES if not source.found(archives)]


def _tuned(
    start_from: str, sources: Collection[dict[str, Any]], steps: int, windows: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "start_from": start_from,
        "set": {
            "data.sources": list(sources),
            "data.windows": windows,
            "train.steps": steps,
            "train.average": steps // AVERAGED,
            "train.validate_every": min(steps, SAVED_EVERY),  # a run is saved when it validates
        },
    }


def _config(
    archives: Path,
    synthetic: Path,
    changes: dict[str, Any],
    seeds: list[int],
    variants: dict[str, Any],
) -> dict[str, Any]:
    config = dict(loads(BASE.read_text()))
    for key, value in {
        **changes,
        "data.root": str((archives / "dwd").resolve()),
        "data.sources": [{"root": str(synthetic.resolve()), "pixel_km": 1.0, "speeds": [1, 1, 2]}],
    }.items():
        section, name = key.split(".")
        config[section] = {**config[section], name: value}
    compare = {"seeds": seeds, "split": "valid", "baselines": ["persistence", "flow", "sprog"]}
    return {**config, "compare": {**compare, "variants": variants}}


def shortened(config: dict[str, Any], steps: int) -> dict[str, Any]:
    """The same with so many steps a training."""
    short = {"steps": steps, "validate_every": steps, "average": max(1, steps // AVERAGED)}
    train = {**config["train"], **short}
    variants = config["compare"]["variants"]
    for variant in variants.values():
        changes = variant.setdefault("set", {})
        changes.update({f"train.{name}": value for name, value in short.items()})
    return {**config, "train": train}


def main(archives: Path, synthetic: Path, out: Path, steps: int | None = None) -> None:
    """Write both configs, and say which archives are missing."""
    for name in missing(archives):
        sys.stderr.write(f"{archives / name}: not there; it takes no part\n")
    for name, make in (("release", release), ("memel", memel)):
        config = make(archives, synthetic, out / "lists")
        if steps is not None:
            config = shortened(config, steps)
        write_text(out / f"{name}.yaml", dumps(config))


if __name__ == "__main__":
    archives, synthetic, out = map(Path, sys.argv[1:4])
    main(archives, synthetic, out, int(sys.argv[4]) if sys.argv[4:] else None)
