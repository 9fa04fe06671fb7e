"""Rainy days are found from the rain that is not masked, and no rain passes between splits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.days import Split, days_path, read_splits, write_days
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import frame_path
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.preparation.rainy_days import find_rainy_days, write_lists
from nowcast.precipitation.preparation.split_days import By, all_in, known_by, split_days
from nowcast.precipitation.units import Calibration
from tests.conftest import every

Run = Callable[..., tuple[int, str, str]]

SHAPE = (8, 8)
FIVE_MM_H = round(255 * float(Calibration().pixel_from_rate(5.0)))
RATE = float(Calibration().rate_from_pixel(FIVE_MM_H / 255))  # of that level; close to 5 mm/h
LISTS = {"train": {"20150101": 1.0}, "valid": {"20150103": 2.0}, "test": {"20150105": 3.0}}


def some_days(*numbers: int) -> np.ndarray:
    return np.datetime64("2015-01-01", "D") + np.array(numbers, dtype=np.int64)


def names(days: np.ndarray) -> list[str]:
    return [str(day) for day in days]


# A day as (days since the one before, days of rain), so that long runs are usual.
runs = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 12)), max_size=60)


@settings(max_examples=400, deadline=None)
@given(runs=runs, by=st.sampled_from([None, "year", "episode"]))
def test_no_day_touches_a_day_of_another_split(runs: list[tuple[int, int]], by: By | None):
    numbers: list[int] = [0]
    for gap, length in runs:
        numbers += range(numbers[-1] + gap, numbers[-1] + gap + length)
    days = some_days(*sorted(set(numbers)))
    try:
        found = split_days(days, by)
    except ConfigError as error:
        assert "too few to split by" in str(error)
        # Where three episodes lie in one year, or three days apart, it can be.
        episodes = 1 + int((np.diff(days) > np.timedelta64(1, "D")).sum())
        assert episodes < 3 or by != "episode"
        return
    assert list(found.days) == ["train", "valid", "test"]
    assert all(len(part) for part in found.days.values())
    together = np.concatenate([*found.days.values(), found.left_out])
    assert np.array_equal(np.sort(together), days)
    for split, part in found.days.items():
        for other, rest in found.days.items():
            if split != other:
                apart = np.abs(np.subtract.outer(part, rest)).astype(int)
                assert apart.min() >= 2


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_all_days_may_go_into_one_split(split: Split):
    found = all_in(split, some_days(0, 1, 2, 9))
    assert names(found.days[split]) == ["2015-01-01", "2015-01-02", "2015-01-03", "2015-01-10"]
    assert sum(map(len, found.days.values())) == 4 and len(found.left_out) == 0


@settings(max_examples=100, deadline=None)
@given(count=st.integers(20, 900))
def test_one_long_run_is_cut_with_a_day_left_out_at_each_cut(count: int):
    found = split_days(some_days(*range(count)), "episode")
    assert len(found.left_out) == 2
    assert abs(len(found.days["train"]) - 0.7 * count) <= 2
    assert abs(len(found.days["valid"]) - 0.15 * count) <= 2


def test_by_year_the_last_is_test_and_new_years_eve_is_left_out():
    start = np.datetime64("2014-12-28", "D")
    days = np.concatenate(
        [some_days(*range(-700, -20, 10)), start + np.arange(8), some_days(40, 41, 80)]
    )
    found = split_days(days)
    assert found.by == "year"
    assert names(found.days["test"])[:4] == [f"2015-01-0{n}" for n in (1, 2, 3, 4)]
    assert names(found.left_out) == ["2014-12-31"]
    valid = found.days["valid"]
    assert 0.05 <= len(valid) / (len(valid) + len(found.days["train"])) <= 0.15
    # Spread: of single days every tenth or so.
    assert np.diff(valid).astype(int).max() <= 160


def test_by_episode_is_chronological_in_whole_episodes():
    days = some_days(*(10 * episode + day for episode in range(20) for day in range(4)))
    found = split_days(days)
    assert found.by == "episode"
    assert [len(found.days[split]) for split in ("train", "valid", "test")] == [56, 12, 12]
    assert len(found.left_out) == 0
    assert found.days["train"][-1] < found.days["valid"][0]
    assert found.days["valid"][-1] < found.days["test"][0]


@pytest.mark.parametrize(
    ("numbers", "by"),
    [
        ([], "episode"),
        ([], "year"),
        ([], None),
        ([0], "episode"),
        ([0, 9], "episode"),
        ([0, 1, 2, 3], "episode"),
        ([0, 9, 18], "year"),
        ([0, 400], "year"),
        ([0, 1, 400], "year"),
        ([364, 365], "year"),
    ],
)
def test_too_few_days_say_what_is_left_empty(numbers: list[int], by: By | None):
    with pytest.raises(ConfigError, match=r"too few to split by .*: nothing is left for "):
        split_days(some_days(*numbers), by)


def test_two_episodes_make_three_splits():
    found = split_days(some_days(0, 1, 2, 3, 4, 5, 6, 20), "episode")
    assert [len(part) for part in found.days.values()] == [5, 1, 1]
    assert names(found.left_out) == ["2015-01-06"]


def test_ways_to_split_are_known():
    assert [known_by(by) for by in (None, "year", "episode")] == [None, "year", "episode"]
    with pytest.raises(ConfigError, match="by: expected year or episode, found 'month'"):
        known_by("month")


Made = Callable[..., Archive]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """An archive of half-hours; each day has so many frames of 5 mm/h over all that is unmasked."""

    def make(hours_of_rain: list[float]) -> Archive:
        root = tmp_path / "archive"
        description = Description("tiny", "the tests", 30, *SHAPE, 58.53, 1.56)
        with ArchiveWriter(root, description) as writer:
            usable = np.ones(SHAPE, dtype=bool)
            usable[0] = False
            for number, hours in enumerate(hours_of_rain):
                start = f"{np.datetime64('2015-01-01', 'D') + 2 * number}T00:00"
                for position, time in enumerate(every(30, start, 12)):
                    levels = np.zeros(SHAPE, dtype=np.uint8)
                    levels[1:] = FIVE_MM_H if position < 2 * hours else 0
                    levels[0] = 255  # clutter
                    mask = np.ones(SHAPE, dtype=bool)
                    mask[:, 0] = False
                    levels[:, 0] = 255
                    levels[0, 0] = 13 * number + position  # no frame is a copy of another
                    writer.write(np.datetime64(time, "m"), levels, mask)
            writer.finish(usable, None)
        return Archive(root)

    return make


@pytest.mark.parametrize("workers", [1, 3])
def test_the_depth_of_a_day_is_that_of_its_unmasked_pixels(made: Made, workers: int):
    seen: list[tuple[int, int]] = []
    archive = made([3, 0.5, 0, 6, 2])
    found = find_rainy_days(
        archive, threshold_mm=4.0, workers=workers, progress=lambda *now: seen.append(now)
    )
    assert list(found.depth_mm) == [f"201501{day:02d}" for day in (1, 3, 5, 7, 9)]
    expected = [3 * RATE, 0.5 * RATE, 0, 6 * RATE, 2 * RATE]
    assert list(found.depth_mm.values()) == pytest.approx(expected)
    assert found.rainy == 3
    assert found.lists() == {
        "train": {"20150101": pytest.approx(3 * RATE)},
        "valid": {"20150107": pytest.approx(6 * RATE)},
        "test": {"20150109": pytest.approx(2 * RATE)},
    }
    assert seen == [(12 * n, 60) for n in range(1, 6)]


def test_a_wet_day_has_a_millimetre_unless_told_otherwise(made: Made):
    archive = made([1, 0.5, 1, 1, 0])  # 5, 2.5 and 0 mm
    assert find_rainy_days(archive).rainy == 4
    assert find_rainy_days(archive, threshold_mm=3.0).rainy == 3
    assert find_rainy_days(archive, threshold_mm=0.0).rainy == 5
    with pytest.raises(ConfigError, match=r"at least 9 mm .* the wettest has 4\.\d+ mm|5\.\d+ mm"):
        find_rainy_days(archive, threshold_mm=9.0)


def test_every_nth_frame_stands_for_n(made: Made):
    archive = made([6, 6, 6])
    for every_nth in (1, 2, 5, 100):
        depth = find_rainy_days(archive, every=every_nth).depth_mm
        assert list(depth.values()) == pytest.approx([6 * RATE] * 3)


def test_without_masks_all_pixels_count(write_archive: Callable[..., Path]):
    root = write_archive({"train": every(6, "2015-07-09T10:00", 2)})
    (root / "hko_data/mask_dat.npz").unlink()
    for path in (root / "radarPNG_mask").rglob("*.mask"):
        path.unlink()
    for folder in sorted((root / "radarPNG_mask").rglob("*"), reverse=True):
        folder.rmdir()
    (root / "radarPNG_mask").rmdir()
    with pytest.raises(ConfigError, match="1 rainy days"):
        find_rainy_days(Archive(root), threshold_mm=0.0)


def test_a_damaged_frame_is_an_error_unless_it_is_skipped(made: Made):
    archive = made([3, 3, 3])
    moment = np.datetime64("2015-01-03T00:30", "m")
    frame_path(archive.root, moment).write_bytes(b"")
    with pytest.raises(DataError, match=r"RAD150103003000\.png.*nowcast data check .*--quarantine"):
        find_rainy_days(archive)
    depth = find_rainy_days(archive, skip=np.array([moment])).depth_mm
    assert depth["20150103"] == pytest.approx(2.5 * RATE)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold_mm": -1.0}, "threshold-mm: expected at least 0, found -1"),
        ({"threshold_mm": float("nan")}, "threshold-mm"),
        ({"every": 0}, "every: expected at least 1, found 0"),
        ({"workers": 0}, "workers: expected at least 1"),
    ],
)
def test_arguments_out_of_range_are_named(made: Made, options: dict[str, float], said: str):
    archive = made([3, 3, 3])
    with pytest.raises(ConfigError, match=said):
        find_rainy_days(archive, **options)  # type: ignore[arg-type]


def test_lists_are_written_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    replace, moves = Path.replace, []

    def fails_at_the_third(path: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 3:
            raise OSError("disk full")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fails_at_the_third)
        with pytest.raises(OSError, match="disk full"):
            write_lists(tmp_path / "new", LISTS)  # type: ignore[arg-type]
    assert list((tmp_path / "new").iterdir()) == []
    write_lists(tmp_path / "new", LISTS)  # type: ignore[arg-type]
    assert read_splits(tmp_path / "new") == LISTS
    assert len(list((tmp_path / "new").iterdir())) == 3


def test_lists_that_are_there_are_not_replaced(tmp_path: Path):
    write_days(tmp_path, "valid", {"20150101": 1.0})
    with pytest.raises(ConfigError, match=r"found .*hko7_rainy_valid_days\.txt; .*--out FOLDER"):
        write_lists(tmp_path, LISTS)  # type: ignore[arg-type]
    assert len(list(tmp_path.iterdir())) == 1


def test_real_radar(radar_dev: Path):
    found = find_rainy_days(Archive(radar_dev))
    # The list of the sequence's maker has 3.1 mm over all of the disc, which the masks leave.
    assert found.depth_mm["20100826"] == pytest.approx(3.1, abs=0.1)
    assert found.rainy == 4 and found.split.by == "year"
    assert names(found.split.days["test"]) == ["2017-01-31"]


def test_the_command(run: Run, made: Made, tmp_path: Path):
    root = made([3, 0, 3, 3]).root
    lists = root / "hko_data"
    status, out, err = run("data", "days", root, "--by", "episode", "--every", 2)
    assert status == 0, err
    assert "3 of 4 days have at least 1 mm, split by episode" in out
    assert "every 2nd frame" not in out and "one frame in 2" in out
    days = {split: list(found) for split, found in read_splits(lists).items()}
    assert days == {"train": ["20150101"], "valid": ["20150105"], "test": ["20150107"]}
    status, _, err = run("data", "days", root)
    assert status == 2 and "hko7_rainy_train_days.txt" in err
    assert run("data", "days", root, "--out", tmp_path / "other", "--threshold-mm", "0.5")[0] == 0
    assert days_path(tmp_path / "other", "test").is_file()
    assert run("data", "days", root, "--by", "month", "--out", tmp_path / "x")[0] == 2
    assert run("data", "days", root, "--all", "tests", "--out", tmp_path / "x")[0] == 2
    both = ("--all", "test", "--by", "year")
    status, _, err = run("data", "days", root, *both, "--out", tmp_path / "x")
    assert status == 2 and "--by, --all: all days into test leaves nothing to split" in err
    status, out, _ = run("data", "days", root, "--all", "test", "--out", tmp_path / "all")
    assert status == 0 and "4 of 4 days have at least 0 mm, all in test" in out
    days = {split: list(found) for split, found in read_splits(tmp_path / "all").items()}
    everything = ["20150101", "20150103", "20150105", "20150107"]
    assert days == {"train": [], "valid": [], "test": everything}

    frame_path(root, np.datetime64("2015-01-01T00:00", "m")).write_bytes(b"")
    listed = tmp_path / "quarantine.csv"
    assert run("data", "days", root, "--out", tmp_path / "x")[0] == 1
    assert run("data", "check", root, "--quarantine", listed)[0] == 1
    assert run("data", "days", root, "--out", tmp_path / "x", "--quarantine", listed)[0] == 0
