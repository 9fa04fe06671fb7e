"""The cells of the study, as configs that `nowcast compare` runs and goes on with.

``python -m scripts.study.design ARCHIVES OUT [STEPS]`` writes ``OUT/CELL.yaml`` for each cell from
``configs/precipitation/study.yaml``, which is the primary one; with so many steps a training and
two seeds, for a trial, if they are given.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nowcast.core.storage.files import write_text
from nowcast.core.storage.yaml_files import dumps, loads

BASE = Path("configs/precipitation/study.yaml")
TRAINED, SCORED = "taasrad64", "taasrad64_valid"  # runs of days that do not overlap
FINE = 4  # of the steps of pretraining, the part of fine-tuning
REFERENCE = "Original"
TRIAL_STRIDE = 120  # frames: few clips
METHODS = ("MEmeL", "share", "penalty")
CONTROLS = ("opposite", "sham", "sham-share")
ELSEWHERE = (REFERENCE, *METHODS, "sham")  # in cells that are not the primary one


@dataclass(frozen=True)
class Cell:
    """One size of network and length of training.

    Args:
        width: of the network, as a part of the primary cell's channels.
        steps: of pretraining.
        seeds: how many, from 0.
        methods: which are compared; None: all of the base's.
    """

    width: float
    steps: int
    seeds: int
    methods: Sequence[str] | None = ELSEWHERE

    @property
    def name(self) -> str:
        """Of its config and its folder."""
        return f"width{self.width:g}-steps{self.steps}"


PRIMARY = Cell(1.0, 800, 10, None)
CELLS = (
    PRIMARY,
    Cell(0.25, 800, 10),
    Cell(0.5, 800, 10),
    Cell(1.0, 200, 10),
    Cell(1.0, 3200, 5),
)


def config(cell: Cell, base: dict[str, Any], archives: Path) -> dict[str, Any]:
    """The config of a cell.

    Args:
        cell: which.
        base: the primary cell's.
        archives: folder of the archives `TRAINED` and `SCORED`.
    """
    data = {**base["data"], "root": str((archives / SCORED).resolve())}
    data["sources"] = [{"root": str((archives / TRAINED).resolve())}]
    stages = [_thinner(stage, cell.width) for stage in base["model"]["stages"]]
    train = {**base["train"], "steps": cell.steps, "validate_every": cell.steps}
    variants = {
        name: _shortened(variant, max(1, cell.steps // FINE))
        for name, variant in base["compare"]["variants"].items()
        if cell.methods is None or name.partition("-")[2] in cell.methods
    }
    compare = {**base["compare"], "seeds": list(range(cell.seeds)), "variants": variants}
    model = {**base["model"], "stages": stages}
    return {**base, "data": data, "model": model, "train": train, "compare": compare}


def _thinner(stage: dict[str, Any], width: float) -> dict[str, Any]:
    return {**stage, **{key: round(stage[key] * width) for key in ("channels", "hidden")}}


def _shortened(variant: dict[str, Any], steps: int) -> dict[str, Any]:
    if "start_from" not in variant:
        return variant
    return {
        **variant,
        "set": {**variant["set"], "train.steps": steps, "train.validate_every": steps},
    }


def main(archives: Path, out: Path, steps: int | None = None) -> None:
    """Write the configs of all cells, and the names of these."""
    base = dict(loads(BASE.read_text()))
    for cell in CELLS:
        asked = cell if steps is None else replace(cell, steps=steps, seeds=2)
        made = config(asked, base, archives)
        if steps is not None:
            made["data"]["stride"] = TRIAL_STRIDE
        write_text(out / f"{cell.name}.yaml", dumps(made))
        sys.stdout.write(f"{cell.name}\n")


if __name__ == "__main__":
    archives, out = map(Path, sys.argv[1:3])
    main(archives, out, int(sys.argv[3]) if sys.argv[3:] else None)
