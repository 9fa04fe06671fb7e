"""What forecasters score on the archives of a release, beside those that learn nothing.

``python -m scripts.release.scores ARCHIVES SPLIT OUT NAME=WEIGHTS... [--frames 5 20] [--radar R]``
scores them on the days of a split (train, valid, test) of each archive, one file of scores each,
and goes on where it stopped; weights that were trained anew are scored anew. Scores by another
radar's weights are of days that they have not seen.
"""

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nowcast
from nowcast.api.evaluate import Evaluation
from nowcast.api.forecasters import run_of
from nowcast.core.scoring.interval import t_interval
from nowcast.core.storage.files import write_json
from nowcast.precipitation.archive.days import SPLITS
from nowcast.precipitation.sources.stack.zarr_archive import open_archive
from scripts.release.sources import SOURCES, Source, folder_name, write_lists

UNLEARNED = ("persistence", "flow", "extrapolation", "sprog")
CLIPS = 8  # of an archive of large frames
OF_SMALL = 8  # times as many of small ones
SMALL_PX = 100_000
LEAST_STRIDE = 4
KEPT = ("csi", "csi_matched", "bias")
BY_BLOCK = ("crps_mm_h", "crps_pixel")  # of those that are kept, beside the error
MOST_DRY = 1.0  # B-MSE + B-MAE of the best unlearned forecast below which a block says nothing


@dataclass(frozen=True)
class Scored:
    """One archive's scores.

    Args:
        source: the archive.
        frames: input and output frames.
        document: as its file has it.
    """

    source: Source
    frames: tuple[int, int]
    document: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The archive, and which of its days."""
        days = [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in self.document["asked"]["days"]]
        told = days[0] if len(days) == 1 else f"{len(days)} days from {days[0]} to {days[-1]}"
        return f"{self.source.about}; {told}"

    @property
    def best(self) -> str:
        """The forecaster with the least B-MSE + B-MAE, of those that learn nothing."""
        return min(UNLEARNED, key=self.error)

    def of(self, name: str) -> Mapping[str, Any]:
        """All of a forecaster's scores."""
        found: Mapping[str, Any] = self.document["forecasters"][name]
        return found

    def error(self, name: str) -> float:
        """B-MSE + B-MAE."""
        return float(self.of(name)["error"])

    def ratio(self, name: str) -> float:
        """Its B-MSE + B-MAE over that of the best forecaster that learns nothing."""
        return self.error(name) / self.error(self.best)

    def log_ratios(self, name: str) -> list[float]:
        """The logarithm of the ratio, block by block."""
        mine, best = self.of(name)["by_block"], self.of(self.best)["by_block"]
        return [math.log(mine[block] / best[block]) for block in mine if best[block] >= MOST_DRY]


def by_radar(scored: list[Scored], name: str) -> dict[str, float]:
    """The ratio of each radar, the mean over its archives."""
    found: dict[str, list[float]] = {}
    for one in scored:
        found.setdefault(one.source.radar, []).append(one.ratio(name))
    return {radar: float(np.mean(ratios)) for radar, ratios in found.items()}


def over_blocks(scored: list[Scored], name: str) -> tuple[float, float, float, int]:
    """Geometric mean of the ratio over all blocks, its 95 % interval (Student's t of the
    logarithm), and how many blocks."""
    logs = np.array([value for one in scored for value in one.log_ratios(name)])
    if len(logs) < 2:
        return math.exp(float(logs.mean())), math.nan, math.nan, len(logs)
    middle, low, high = map(math.exp, t_interval(logs))
    return middle, low, high, len(logs)


def score(
    weights: Mapping[str, str],
    archives: Path,
    split: str,
    out: Path,
    frames: tuple[int, int] | None = None,
    radars: tuple[str, ...] = (),
    clips: int = CLIPS,
    beside: tuple[str, ...] = UNLEARNED[1:],
    kept: tuple[str, ...] = KEPT,
) -> None:
    """Score weights on the archives with days of a split; what is there is not done again.

    Args:
        weights: name -> run or shipped weights.
        archives: folder of the archives.
        split: whose days.
        out: folder of the files.
        frames: input and output frames; None: 10 and 10, or what a short archive has.
        radars: only of these, as `folder_name` has them.
        clips: about how many of an archive of large frames.
        beside: forecasters that are scored by the same command; persistence always is.
        kept: which other scores a file has, by the first part of their names.
    """
    for source in SOURCES:
        days = source.days(split, source.found(archives))
        if not days or (radars and folder_name(source.radar) not in radars):
            continue
        if frames is not None and source.frames != (10, 10):
            continue
        used = frames or source.frames
        path = out / f"{source.name}.json"
        asked = {"days": days, "frames": list(used), "clips": clips}
        asked["weights"] = {name: fingerprint(of) for name, of in weights.items()}
        if path.is_file() and json.loads(path.read_text())["asked"] == asked:
            continue
        forecasters = {**weights, **{name: name for name in beside}}
        board = out / "boards" / source.name
        found = evaluated(forecasters, source, archives, days, used, clips, out / "lists", board)
        write_json(path, {"asked": asked, **_document(found, kept)})


def fingerprint(weights: str) -> str:
    """Tells the weights of a run, or those that ship, from others of their name."""
    return hashlib.sha256(run_of(weights).best_weights.read_bytes()).hexdigest()


def evaluated(
    forecasters: str | Mapping[str, str],
    source: Source,
    archives: Path,
    days: list[str],
    frames: tuple[int, int],
    clips: int,
    lists: Path,
    board: Path | None = None,
) -> Evaluation:
    """Forecasters on these days of an archive.

    Args:
        forecasters: one, or with `board` name -> forecaster.
        source: the archive.
        archives: folder of the archives.
        days: to score.
        frames: input and output frames.
        clips: about how many of large frames; `OF_SMALL` times as many of small ones.
        lists: where to write day lists.
        board: folder of the leaderboard.
    """
    root = archives / source.name
    write_lists(lists / source.name, "test", days)
    archive = open_archive(root, lists / source.name)
    height, width = archive.shape
    wanted = clips * (OF_SMALL if height * width <= SMALL_PX else 1)
    return nowcast.evaluate(
        forecasters,
        root,
        split="test",
        out=board,
        overrides={
            "data.lists": str(lists / source.name),
            "data.in_len": frames[0],
            "data.out_len": frames[1],
            "data.stride": max(LEAST_STRIDE, len(archive.moments_of("test")) // wanted),
        },
    )


def read(out: Path, frames: tuple[int, int] | None = None) -> list[Scored]:
    """What `score` has written, in the order of `SOURCES`."""
    return [
        Scored(source, frames or source.frames, json.loads(path.read_text()))
        for source in SOURCES
        if (path := out / f"{source.name}.json").is_file()
    ]


def _document(found: Evaluation, kept: tuple[str, ...]) -> dict[str, Any]:
    assert found.board is not None
    by_block = found.board.by_block
    return {
        "facts": dict(found.facts),
        "forecasters": {
            name: {
                "error": error(scores.values),
                "by_block": {block: error(of.values) for block, of in by_block[name].items()},
                **{
                    key: value
                    for key, value in scores.values.items()
                    if key.split("/")[0] in kept or key == "spectrum/4"
                },
                **{
                    f"{key}_by_block": {
                        block: of.values.get(key) for block, of in by_block[name].items()
                    }
                    for key in kept
                    if key in BY_BLOCK
                },
            }
            for name, scores in found.scores.items()
        },
    }


def error(values: Mapping[str, float | None]) -> float:
    """B-MSE + B-MAE; raises ValueError where a forecast was not a number."""
    b_mse, b_mae = values["b_mse"], values["b_mae"]
    if b_mse is None or b_mae is None:
        raise ValueError("expected a B-MSE and a B-MAE, found a forecast that is not a number")
    return b_mse + b_mae


def lines(scored: list[Scored], names: list[str]) -> Iterator[str]:
    """A table for people."""
    for one in scored:
        ratios = "  ".join(f"{name} {one.ratio(name):.3f}" for name in names)
        yield f"{one.source.name}: best unlearned {one.best} {one.error(one.best):.0f}; {ratios}"
    for name in names:
        radars = by_radar(scored, name)
        yield f"{name}: mean over {len(radars)} radars {np.mean(list(radars.values())):.3f}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archives", type=Path)
    parser.add_argument("split", choices=SPLITS)
    parser.add_argument("out", type=Path)
    parser.add_argument("weights", nargs="+", metavar="NAME=WEIGHTS")
    parser.add_argument("--frames", nargs=2, type=int, metavar=("IN", "OUT"))
    parser.add_argument("--radar", action="append", default=[])
    parser.add_argument("--clips", type=int, default=CLIPS)
    given = parser.parse_args()
    frames = tuple(given.frames) if given.frames else None
    weights = dict(entry.split("=", 1) for entry in given.weights)
    radars = tuple(given.radar)
    score(weights, given.archives, given.split, given.out, frames, radars, given.clips)
    sys.stdout.write("\n".join(lines(read(given.out, frames), list(weights))) + "\n")


if __name__ == "__main__":
    main()
