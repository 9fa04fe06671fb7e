"""The whole of a release, from archives to cards, in a step a training."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.units import Calibration, encode
from scripts.release import card
from scripts.release.recipe import ALL
from tests import ROOT

pytestmark = pytest.mark.slow

INSTALLED = Path(sys.prefix) / "installed-dev"
FRAMES = 26


def archive(root: Path, days: list[str], side: int) -> None:
    """A shower a day, which moves to the right and grows or fades."""
    description = Description(root.name, "the tests", 5, side, side + 8, 200.0, 1.6)
    rows, columns = np.mgrid[:side, : side + 8]
    mask = np.ones((side, side + 8), dtype=bool)
    with ArchiveWriter(root, description) as writer:
        for number, day in enumerate(days):
            start = np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00", "m")
            for frame in range(FRAMES):
                far = (rows - side / 2) ** 2 + (columns - side / 4 - frame) ** 2
                rate = (8 + number % 3 * frame) * np.exp(-far / (2 * (side / 8) ** 2))
                level = encode(
                    Calibration(200.0, 1.6).pixel_from_rate(np.where(rate < 0.1, 0, rate))
                )
                writer.write(start + 5 * frame, level, mask)
        splits = {"train": dict.fromkeys(days, 1.0), "valid": {}, "test": {}}
        if root.name == "dwd":
            splits = {split: {day: 1.0} for split, day in zip(splits, days, strict=False)}
        writer.finish(mask, splits)


@pytest.mark.skipif(not INSTALLED.is_file(), reason="needs the environment of scripts/test.sh")
def test_from_archives_to_cards(tmp_path: Path):
    archives, out = tmp_path / "archives", tmp_path / "out"
    dwd = ["20180510", "20180517", "20180519", "20180511"]
    for name, days, side in (
        ("dwd", dwd, 176),
        ("knmi_2010", ["20100826"], 176),
        ("taasrad64", ["20151005", "20160501", "20170301"], 64),
        ("taasrad64_valid", ["20160601"], 64),
        ("dpc_north_20250416", ["20250416"], 176),
        ("meteoswiss", ["20150515", "20160711"], 176),
    ):
        archive(archives / name, days, side)
    command = ["bash", str(ROOT / "scripts" / "train_release.sh"), str(archives)]
    settings = {"STEPS": "1", "SHIP": "no", "OUT": str(out), "VENV": sys.prefix}

    def run() -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **settings, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, done.stderr[-3000:]
    assert "mrms_r0760_c3500: not there; it takes no part" in done.stderr
    assert "both: Effect(" in done.stdout
    text = card.card(out, ALL)
    for part in ("Data", "Recipe", "Seeds", "Scores", "Limits", "Licence", "Date", "Command"):
        assert f"## {part}" in text, part
    assert text.count("TAASRAD19") >= 2 and "MeteoSwiss AQC" in text
    assert "| one in 9 |" in text and "95 % interval over 5 seeds" in text
    shorter = card.summary(out, whole=False)
    assert shorter.count("\n|") >= 4 and "Mean ratio over the" in shorter
    finished = (out / "release" / "runs" / ALL / "seed0" / "best.safetensors").stat().st_mtime_ns
    again = run()
    assert again.returncode == 0, again.stderr[-3000:]
    same = out / "release" / "runs" / ALL / "seed0" / "best.safetensors"
    assert same.stat().st_mtime_ns == finished
