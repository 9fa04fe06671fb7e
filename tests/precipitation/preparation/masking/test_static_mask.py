"""Places that never hold rain are found by what they show over time; places of rain stay."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.preparation.masking.outliers import outliers
from nowcast.precipitation.preparation.masking.static_mask import estimate_usable
from nowcast.precipitation.synthetic.archive import write_synthetic

SIDE = 40
DAYS, A_DAY = 3, 48  # frames every half hour

Write = Callable[[np.ndarray], Archive]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes frames, half an hour apart, as an archive."""

    def archive(frames: np.ndarray) -> Archive:
        root = tmp_path / "archive"
        height, width = frames.shape[1:]
        whole = np.ones((height, width), dtype=bool)
        description = Description("by hand", "tests", 30, height, width, 58.53, 1.56)
        with ArchiveWriter(root, description) as writer:
            for number, frame in enumerate(frames):
                moment = np.datetime64("2020-06-01T00:00", "m") + 30 * number
                writer.write(moment, frame, whole)
            writer.finish(whole, None)
        return Archive(root)

    return archive


def rain(seed: int = 0, count: int = DAYS * A_DAY) -> np.ndarray:
    """Blobs anywhere, so that every place sees about the same rain over time."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    frames = np.zeros((count, SIDE, SIDE))
    for frame in frames:
        for _ in range(6):
            row, column = rng.uniform(-5, SIDE + 5, 2)
            squared = (rows - row) ** 2 + (columns - column) ** 2
            cell = rng.uniform(60, 220) * np.exp(-squared / (2 * rng.uniform(3, 7) ** 2))
            np.maximum(frame, cell, out=frame)
    return np.where(frames >= 30, frames, 0).astype(np.uint8)


def test_rain_alone_leaves_every_place(write: Write):
    found = estimate_usable(write(rain()))
    assert found.frames == DAYS * A_DAY
    assert (~found.usable).mean() < 0.01


def test_a_blocked_sector_is_silent_and_a_place_always_lit_outlies(write: Write):
    frames = rain()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    azimuth = np.arctan2(columns - 19.5, 19.5 - rows)
    blocked = (azimuth > 0.6) & (azimuth < 0.9)
    lit = np.zeros((SIDE, SIDE), dtype=bool)
    lit[30, 5] = lit[8:10, 10:12] = True
    flicker = np.random.default_rng(1).integers(-5, 6, frames.shape)
    frames = np.where(lit, np.maximum(frames, 130 + flicker), frames).astype(np.uint8)
    frames[:, blocked] = 0
    found = estimate_usable(write(frames))
    np.testing.assert_array_equal(found.silent, blocked)
    assert found.outlying[lit].all()
    assert (found.outlying & ~lit).mean() < 0.01
    np.testing.assert_array_equal(found.usable, ~(found.silent | found.outlying))
    assert [row[:2] for row in found.rows()] == [
        ["never an echo", str(blocked.sum())],
        ["outlying", str(found.outlying.sum())],
    ]


def test_a_corner_that_rain_merely_did_not_reach_stays(write: Write):
    frames = rain()
    frames[:, :8, :8] = 0
    frames[9:, :10, :10] = 0  # at its edge there is rain in nine frames at most
    assert not estimate_usable(write(frames)).silent.any()


def test_the_synthetic_site_is_found(tmp_path: Path):
    root = tmp_path / "site"
    write_synthetic(root, days=3, seed=1, height=64, width=64, step_minutes=15)
    archive = Archive(root)
    found, known = ~estimate_usable(archive).usable, ~archive.usable
    assert (found & known).sum() / found.sum() > 0.9  # precision
    assert (found & known).sum() / known.sum() > 0.9  # recall


def test_frames_are_sampled_over_the_whole_archive(write: Write):
    steps: list[tuple[int, int]] = []
    found = estimate_usable(write(rain()), 100, progress=lambda *step: steps.append(step))
    assert found.frames == 100
    assert steps[-1] == (100, 100)


@pytest.mark.parametrize(
    ("frames", "max_frames", "message"),
    [
        (np.zeros((DAYS * A_DAY, 8, 8)), 1000, "too dry to tell clutter from rain"),
        (np.full((DAYS * A_DAY, 8, 8), 90), 1000, "pixels that differ over time"),
        (np.full((DAYS * A_DAY, 1, 1), 90), 1000, "pixels that differ over time"),
        (np.full((1, 8, 8), 90), 1000, "100 frames on 3 days .* found 1 on 1"),
        (np.full((2 * A_DAY + 4, 8, 8), 90), 99, "frames: expected at least 100, found 99"),
        (np.full((99, 8, 8), 90), 1000, "100 frames on 3 days .* found 99 on 3"),
    ],
)
def test_what_cannot_be_judged_is_said(
    write: Write, frames: np.ndarray, max_frames: int, message: str
):
    with pytest.raises(ConfigError, match=message):
        estimate_usable(write(frames.astype(np.uint8)), max_frames)


def test_more_than_the_caller_allows_is_not_excluded(write: Write):
    frames = rain()
    frames[:, :, :16] = 0
    archive = write(frames)
    with pytest.raises(ConfigError, match=r"at most 30% .* found 4\d.*--most"):
        estimate_usable(archive)
    assert estimate_usable(archive, most_excluded=0.5).silent[:, :16].all()


def cloud(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    correlated = rng.standard_normal((count, 3)) @ np.array([[1, 0.9, 0], [0, 0.3, 0], [0, 0, 2]])
    return (1 + 0.01 * correlated).astype(np.float32)


def test_outliers_are_those_off_the_cloud_however_many_hide_each_other():
    features = cloud(1000)
    assert outliers(features, 1e-4).mean() < 0.01
    # Along the cloud 2 sd away is near; across it the same step is far.
    features[0] = (1.02, 1.02, 1.0)
    features[1] = (1.02, 0.98, 1.0)
    features[2:202] = (1.05, 0.95, 1.1)
    found = outliers(features, 1e-4)
    assert not found[0]
    assert found[1:202].all()
    assert found[202:].mean() < 0.01


def test_outliers_follow_neither_order_nor_unit():
    features = cloud(500)
    features[:20] += np.float32(0.5)
    found = outliers(features, 1e-4)
    order = np.random.default_rng(1).permutation(500)
    np.testing.assert_array_equal(outliers(features[order], 1e-4), found[order])
    np.testing.assert_array_equal(outliers(features * 4, 4e-4), found)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_places_that_are_alike_are_no_outliers(count: int):
    assert not outliers(np.full((count, 4), 0.25, dtype=np.float32), 0.01).any()
