"""The figures of an archive are right where the answer is known beforehand."""

import math
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import write_frame
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.preparation.info import NO_RAIN, archive_info
from nowcast.precipitation.units import Calibration, encode

START = np.datetime64("2021-03-04T00:00", "m")


STEP = np.timedelta64(5, "m")


def written(root: Path, levels: list[np.ndarray], mask: np.ndarray | None = None) -> Archive:
    height, width = levels[0].shape
    mask = np.ones((height, width), dtype=bool) if mask is None else mask
    description = Description("test", "nobody", 5, height, width, 200.0, 1.6)
    with ArchiveWriter(root, description) as writer:
        for number, frame in enumerate(levels):
            writer.write(START + number * STEP, frame, mask)
        writer.finish(mask, {"train": {"20210304": 1.0}})
    return Archive(root)


def test_a_dry_archive_has_no_figures_of_rain(tmp_path: Path) -> None:
    info = archive_info(written(tmp_path / "dry", [np.zeros((32, 32), np.uint8)] * 3))
    assert (info.wet_share, info.max_mm_h) == (0.0, 0.0)
    assert info.wet_quantiles_mm_h is None and info.slope is None
    assert info.speed_px is None and info.decorrelation_minutes is None
    assert sum(value == NO_RAIN for _, value in info.rows()) == 4 + 3


def test_masked_pixels_are_in_no_figure(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    mask = np.ones((40, 40), dtype=bool)
    mask[5:9, 20:30] = False
    rain = [encode(rng.uniform(0.2, 0.6, (40, 40))) for _ in range(4)]
    spoilt = [np.where(mask, frame, np.uint8(255)) for frame in rain]
    clean = [np.where(mask, frame, np.uint8(0)) for frame in rain]
    infos = [
        archive_info(written(tmp_path / name, frames, mask))
        for name, frames in (("spoilt", spoilt), ("clean", clean))
    ]
    assert infos[0] == infos[1]
    assert infos[0].usable_share == pytest.approx(1 - 40 / 1600)


def test_wet_share_and_rates_are_those_written(tmp_path: Path) -> None:
    rate = np.zeros((20, 20))
    rate[:5] = 8.0
    levels = encode(Calibration(200.0, 1.6).pixel_from_rate(rate))
    info = archive_info(written(tmp_path / "a", [levels] * 3))
    assert info.wet_share == pytest.approx(0.25)
    assert info.wet_quantiles_mm_h == pytest.approx((8.0,) * 4, rel=0.02)
    assert info.max_mm_h == pytest.approx(8.0, rel=0.02)
    assert info.speed_px == pytest.approx(0.0, abs=0.05)
    assert info.decorrelation_minutes == math.inf
    rows = dict(info.rows())
    assert rows["decorrelation time"] == "over 115 min"
    assert rows["wet pixels (>= 0.5 mm/h)"] == "25.00%"
    assert rows["days"] == "1 train, 0 valid, 0 test"
    assert rows["first frame"] == "2021-03-04 00:00 UTC"


def test_frames_alone_are_enough(tmp_path: Path) -> None:
    levels = encode(np.full((16, 24), 0.5))
    for number in range(3):
        write_frame(tmp_path, START + number * STEP, levels)
    info = archive_info(Archive(tmp_path))
    assert info.days is None and info.usable_share is None
    assert info.wet_share == 1.0
    rows = dict(info.rows())
    assert rows["days"] == "none"
    assert rows["described by"] == "read off the frames; Z-R of HKO-7"


def test_one_frame_is_too_few_to_sample(tmp_path: Path) -> None:
    archive = written(tmp_path / "a", [np.zeros((16, 16), np.uint8)])
    with pytest.raises(ConfigError, match="max_frames"):
        archive_info(archive, max_frames=1)
