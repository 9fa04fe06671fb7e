"""What the study's runs score on radars that they have not seen.

``python -m scripts.study.abroad OUT`` scores the runs of every comparison in OUT on the archives in
``OUT/abroad`` (`coarse`). ``OUT/CELL/abroad.json`` holds archive -> variant -> seed -> the error,
B-MSE + B-MAE, and the weights that it is of. What is scored is not scored again.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nowcast
from nowcast.core.storage.files import write_json
from nowcast.precipitation.sources.stack.zarr_archive import open_archive
from scripts.release.scores import error, fingerprint
from scripts.study.coarse import ABROAD
from scripts.study.design import CELLS

FOLDER, FILE = "abroad", "abroad.json"
CLIPS = 64  # of an archive, about
LEAST_STRIDE = 4


def runs_of(cell: Path) -> Iterator[tuple[str, str, Path]]:
    """Variant, seed and folder of the finished runs of a comparison."""
    for result in sorted((cell / "runs").glob("*/seed*/result.json")):
        yield result.parts[-3], result.parts[-2].removeprefix("seed"), result.parent


def score(cell: Path, archives: Path) -> None:
    """Score the runs of a comparison on all archives."""
    path = cell / FILE
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for abroad in ABROAD:
        root = archives / abroad.name
        if not root.is_dir():
            continue
        stride = _stride(root)
        for variant, seed, run in runs_of(cell):
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


if __name__ == "__main__":
    out = Path(sys.argv[1])
    for cell in CELLS:
        score(out / cell.name, out / FOLDER)
