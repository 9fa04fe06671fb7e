"""Frames from one pixel on are read, scored, forecast and drawn, or refused in a sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.preparation.rain_statistics import flow_speed

SIZES = [(1, 1), (1, 7), (3, 200), (7, 7), (8, 8), (17, 5), (2, 2)]
CLIPS = ["data.in_len=3", "data.out_len=3"]

Run = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.parametrize("small", SIZES, indirect=True, ids=lambda s: f"{s[0]}x{s[1]}")


@pytest.fixture(scope="module")
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of noise that moves a column a step, on frames of a few pixels."""
    height, width = request.param
    root = tmp_path_factory.mktemp("small") / "archive"
    description = Description("small", "made by the tests", 10, height, width, 200.0, 1.6)
    days = {"train": "2020-01-01", "valid": "2020-01-03", "test": "2020-01-05"}
    usable = np.ones((height, width), dtype=bool)
    with ArchiveWriter(root, description) as writer:
        for seed, day in enumerate(days.values()):
            levels = np.random.default_rng(seed).integers(0, 200, (height, width))
            for number in range(16):
                moment = np.datetime64(day, "m") + 10 * number
                frame = (np.roll(levels, number, axis=1) + 3 * number).astype(np.uint8)
                writer.write(moment, frame, usable)
        lists = {split: {day.replace("-", ""): 1.0} for split, day in days.items()}
        writer.finish(usable, lists)
    return root


def test_info_tells_of_it_as_a_tree_and_as_a_pack(run: Run, small: Path, tmp_path: Path):
    status, _, err = run("data", "pack", small, tmp_path / "packed.h5", "--workers", 1)
    assert status == 0, err
    status, out, err = run("data", "info", small, tmp_path / "packed.h5")
    assert status == 0, err
    assert out.count("px a step") == 2


def test_it_is_checked_and_its_days_are_listed(run: Run, small: Path, tmp_path: Path):
    status, out, _ = run("data", "check", small)
    assert "48 frames of 3 days checked; 0 broken" in out and status == 0
    assert run("data", "days", small, "--out", tmp_path / "lists", "--threshold-mm", 0)[0] == 0


def test_masks_are_estimated_or_refused(run: Run, small: Path, tmp_path: Path):
    status, _, err = run("data", "masks", small, "--check", "--picture", tmp_path / "m.png")
    assert status == 0 or (status == 2 and err.splitlines()[-1].startswith("nowcast: "))


@pytest.mark.usefixtures("few_resamples")
def test_it_is_scored_in_full_and_drawn(run: Run, small: Path, tmp_path: Path):
    out = tmp_path / "board"
    status, _, err = run("evaluate", "flow", "farneback", "--data", small, "--out", out, *CLIPS)
    assert status == 0, err
    for row in json.loads((out / "leaderboard.json").read_text()):
        assert row["clips"] and row["b_mse"] >= 0
        shares = [value for value in row["fss"].values() if value is not None]
        assert shares and all(0 <= value <= 1 for value in shares)
        assert row["ssim"] is None or -1 <= row["ssim"] <= 1
    assert {"spectra.png", "performance.png"} <= {p.name for p in (out / "pictures").iterdir()}


@pytest.mark.parametrize("weights", [None, "flow", "farneback", "persistence"])
def test_it_is_forecast_in_every_format(run: Run, small: Path, tmp_path: Path, weights: str | None):
    chosen = [] if weights is None else ["--weights", weights]
    formats = [part for name in ("png", "gif", "nc", "h5") for part in ("--format", name)]
    status, _, err = run("forecast", small, "--out", tmp_path / "out", *formats, *chosen)
    assert status == 0, err
    assert run("data", "info", tmp_path / "out")[0] == 0


def test_a_stack_of_it_is_converted(run: Run, small: Path, tmp_path: Path):
    stated = json.loads((small / "archive.json").read_text())
    frames = np.random.default_rng(0).gamma(1, 1, (12, stated["height"], stated["width"]))
    np.save(tmp_path / "s.npy", frames)
    np.save(tmp_path / "t.npy", np.datetime64("2020-01-01T00:00", "m") + 10 * np.arange(12))
    options = ["--importer", "stack", "--times", tmp_path / "t.npy", "--unit", "mm_h"]
    status, _, err = run("data", "convert", tmp_path / "s.npy", tmp_path / "out", *options)
    assert status == 0, err
    assert run("data", "info", tmp_path / "out")[0] == 0


def test_flow_between_frames_is_a_speed(small: Path):
    stated = json.loads((small / "archive.json").read_text())
    shape = stated["height"], stated["width"]
    frames = np.random.default_rng(1).integers(0, 255, (2, *shape)).astype(np.uint8)
    speed = flow_speed(frames[0], frames[1], np.ones(shape, dtype=bool))
    assert speed is not None and np.isfinite(speed)
    assert flow_speed(frames[0], frames[0], np.ones(shape, dtype=bool)) == pytest.approx(0, abs=0.1)
