"""The cells of the study, as configs of one seed each that `nowcast compare` runs and goes on with.

``python -m scripts.study.design ARCHIVES OUT RESULTS [STEPS]`` writes ``OUT/CELL/seedN.yaml`` from
``configs/precipitation/study.yaml``, which is the primary cell, for each seed that no table of
RESULTS has (`outcomes`), and says ``CELL/seedN``; with so many steps a training and two seeds, for
a trial, if they are given.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nowcast.core.storage.files import write_text
from nowcast.core.storage.yaml_files import dumps, loads
from scripts.study.outcomes import read

BASE = Path("configs/precipitation/study.yaml")
TRAINED, SCORED = "taasrad64", "taasrad64_valid"  # runs of days that do not overlap
FINE = 4  # of the steps of pretraining, the part of fine-tuning
REFERENCE = "Original"
TRIAL_SEEDS, TRIAL_STRIDE = 2, 120  # few clips
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

    @property
    def file(self) -> str:
        """Of its table."""
        return f"{self.name}.csv"


PRIMARY = Cell(1.0, 800, 20, None)  # as many as the rule gives for its first five seeds
CELLS = (
    PRIMARY,
    Cell(0.25, 800, 10),
    Cell(0.5, 800, 10),
    Cell(1.0, 200, 10),
    Cell(1.0, 3200, 5),
)


def config(cell: Cell, seed: int, base: dict[str, Any], archives: Path) -> dict[str, Any]:
    """The config of one seed of a cell.

    Args:
        cell: which.
        seed: which.
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
    compare = {**base["compare"], "seeds": [seed], "variants": variants}
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


def main(archives: Path, out: Path, results: Path, steps: int | None = None) -> None:
    """Write the configs of all seeds that are not done, and their names."""
    base = dict(loads(BASE.read_text()))
    for cell in CELLS:
        asked = cell if steps is None else replace(cell, steps=steps, seeds=TRIAL_SEEDS)
        done = {row.seed for row in read(results / cell.file)}
        for seed in range(asked.seeds):
            if seed in done:
                continue
            made = config(asked, seed, base, archives)
            if steps is not None:
                made["data"]["stride"] = TRIAL_STRIDE
            part = f"{cell.name}/seed{seed}"
            write_text(out / f"{part}.yaml", dumps(made))
            sys.stdout.write(f"{part}\n")


if __name__ == "__main__":
    archives, out, results = map(Path, sys.argv[1:4])
    main(archives, out, results, int(sys.argv[4]) if sys.argv[4:] else None)
