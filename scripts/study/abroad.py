"""What the study's runs score on radars that they have not seen.

``abroad.json`` of a comparison holds archive -> variant -> seed -> the error, B-MSE + B-MAE, and
the weights that it is of. What is scored is not scored again.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nowcast
from nowcast.core.storage.files import write_json
from nowcast.precipitation.sources.stack.zarr_archive import open_archive
from scripts.release.scores import error, fingerprint
from scripts.study.coarse import ABROAD

FOLDER, FILE = "abroad", "abroad.json"
CLIPS = 64  # of an archive, about
LEAST_STRIDE = 4


def runs_of(part: Path) -> Iterator[tuple[str, str, Path]]:
    """Variant, seed and folder of the finished runs of a comparison."""
    for result in sorted((part / "runs").glob("*/seed*/result.json")):
        yield result.parts[-3], result.parts[-2].removeprefix("seed"), result.parent


def score(part: Path, archives: Path) -> None:
    """Score the runs of a comparison on all archives of `coarse`."""
    path = part / FILE
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for abroad in ABROAD:
        root = archives / abroad.name
        if not root.is_dir():
            continue
        stride = _stride(root)
        for variant, seed, run in runs_of(part):
            of = found.setdefault(abroad.name, {}).setdefault(variant, {})
            weights = fingerprint(str(run))
            if of.get(seed, {}).get("weights") == weights:
                continue
            scores = nowcast.evaluate(str(run), root, split="valid", data__stride=stride).scores
            (own,) = scores.values()
            of[seed] = {"error": error(own.values), "weights": weights}
        write_json(path, found)


def _stride(root: Path) -> int:
    return max(LEAST_STRIDE, len(open_archive(root).moments) // CLIPS)
