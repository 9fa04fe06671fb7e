"""An archive says what its numbers mean, or it is read off its frames and the archive says so."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.archive.frames import FrameError, frame_path
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.units import Calibration
from tests.conftest import every

DESCRIPTION = Description("tiny", "the tests", 10, 4, 6, 200.0, 1.6)
DAYS = {
    "train": [*every(6, "2015-07-09T10:00", 4), *every(6, "2015-07-12T00:00", 1)],
    "valid": every(6, "2015-07-10T00:00", 3),
    "test": every(6, "2015-07-11T23:54", 1),
}


def test_what_is_written_is_read(tmp_path: Path):
    rng = np.random.default_rng(0)
    moments = np.array(every(10, "2020-02-29T23:50", 2), dtype="datetime64[m]")
    levels = rng.integers(0, 256, (2, 4, 6), dtype=np.uint8)
    masks = rng.random((2, 4, 6)) < 0.5
    usable = rng.random((4, 6)) < 0.5
    with ArchiveWriter(tmp_path / "new", DESCRIPTION) as writer:
        for moment, frame, mask in zip(moments, levels, masks, strict=True):
            writer.write(moment, frame, mask)
        writer.finish(usable, {"train": {"20200229": 3.5}, "test": {"20200301": 1.0}})
    archive = Archive(tmp_path / "new")
    assert archive.description == DESCRIPTION and archive.origin == "archive.json"
    assert archive.shape == (4, 6) and archive.step == np.timedelta64(10, "m")
    assert archive.calibration == Calibration(200.0, 1.6)
    assert np.array_equal(archive.moments, moments)
    for moment, frame, mask in zip(moments, levels, masks, strict=True):
        assert np.array_equal(archive.frame(moment), frame)
        assert np.array_equal(archive.mask(moment), mask)
    assert np.array_equal(archive.usable, usable)
    assert archive.days == {"train": {"20200229": 3.5}, "valid": {}, "test": {"20200301": 1.0}}
    assert archive.moments_of("train").tolist() == moments[:1].tolist()
    assert len(archive.moments_of("valid")) == 0


def test_moments_of_a_split_are_those_of_its_days(write_archive: Callable[..., Path]):
    archive = Archive(write_archive(DAYS))
    for split, times in DAYS.items():
        assert [str(moment) for moment in archive.moments_of(split)] == times


def test_lists_may_lie_elsewhere(write_archive: Callable[..., Path], tmp_path: Path):
    root = write_archive(DAYS)
    (root / "hko_data").rename(tmp_path / "lists")
    assert len(Archive(root, tmp_path / "lists").moments_of("valid")) == 3
    with pytest.raises(ConfigError, match=r"hko7_rainy_train_days\.txt"):
        Archive(root).moments_of("valid")


def test_without_a_description_the_commonest_gap_is_the_step(write_archive: Callable[..., Path]):
    times = [*every(6, "2015-07-09T10:00", 3), *every(12, "2015-07-09T10:24", 2)]
    root = write_archive({"train": [*times, *every(6, "2015-07-09T20:00", 3)]})
    (root / "archive.json").unlink()
    archive = Archive(root)
    # Gaps: 6, 6, 12, 12, 552, 6, 6.
    assert archive.description == Description("archive", "not stated", 6, 8, 8, 58.53, 1.56)
    assert archive.origin == "read off the frames; Z-R of HKO-7"


def test_the_step_of_one_frame_is_asked_for(write_archive: Callable[..., Path]):
    root = write_archive({"train": ["2015-07-09T10:00"]})
    assert Archive(root).step == np.timedelta64(6, "m")
    (root / "archive.json").unlink()
    with pytest.raises(ConfigError, match=r"single frame; write it into archive\.json"):
        Archive(root)


WHOLE = {
    "name": "tiny",
    "credit": "the tests",
    "step_minutes": 6,
    "height": 8,
    "width": 8,
    "zr_a": 58.53,
    "zr_b": 1.56,
}


GRID = {"projection": "", "x_west": 0.0, "y_north": 0.0, "pixel_x": 1.0, "pixel_y": 1.0}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"step": 6}, "step: unknown key"),
        ({"step_minutes": 0}, "step_minutes: .* greater than or equal to 1 .found 0.; correct it"),
        ({"step_minutes": 1441}, "step_minutes: .* less than or equal to 1440 .found 1441"),
        ({"width": -8}, "width: .* greater than or equal to 1 .found -8"),
        ({"width": 10**9}, "width: .* less than or equal to 67108864 .found 10000"),
        ({"height": 8200, "width": 8200}, "pixels, found 8200x8200; correct"),
        ({"height": "8"}, "height: .* a valid integer .found '8'"),
        ({"height": True}, "height: .* a valid integer .found True"),
        ({"height": 8.0}, "height: .* a valid integer .found 8.0"),
        ({"zr_a": 0.0}, "zr_a: .* greater than 0 .found 0"),
        ({"zr_b": -1.5}, "zr_b: .* greater than 0 .found -1"),
        ({"zr_a": math.inf}, "zr_a: .* a finite number .found inf"),
        ({"zr_a": math.nan}, "zr_a: .* a finite number .found nan"),
        ({"zr_b": True}, "zr_b: .* a valid number .found True"),
        ({"zr_b": 10**400}, "zr_b: .* a finite number"),
        ({"name": None}, "name: .* a valid string .found None"),
        ({"history": "one"}, "history: .*found 'one'"),
        ({"history": [1]}, r"history\.0: .* a valid string .found 1"),
        ({"quantity": "snow"}, "quantity: .*'reflectivity' or 'VIL' .found 'snow'"),
        ({"valid_share": 1.5}, "valid_share: .* less than or equal to 1 .found 1.5"),
        ({"grid": {"projection": "+proj=aeqd"}}, r"grid\.x_west: Field required; grid\.y_north"),
        ({"grid": GRID | {"projection": 7}}, r"grid\.projection: .* a valid string .found 7"),
        ({"grid": [1]}, "grid: .* an object .found .1"),
        ({"grid": GRID | {"pixel_x": -1}}, r"grid\.pixel_x: .* greater than 0 .found -1"),
        ({"grid": GRID | {"x_west": math.inf}}, r"grid\.x_west: .* a finite number .found inf"),
        ({"zr_a": -1, "width": 0, "day": 7}, "width: .*; zr_a: .*; day: unknown key; correct it"),
    ],
)
def test_a_malformed_description_is_named(
    write_archive: Callable[..., Path], changed: dict[str, object], said: str
):
    root = write_archive(DAYS)
    (root / "archive.json").write_text(json.dumps(WHOLE))
    assert Archive(root).description.name == "tiny"
    (root / "archive.json").write_text(json.dumps(WHOLE | changed))
    with pytest.raises(DataError, match=rf"archive\.json: (?s:.)*{said}"):
        Archive(root)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting"),
        ("[]", r"an object .found \[\]"),
        ("7", "an object .found 7"),
        (json.dumps({k: v for k, v in WHOLE.items() if k != "zr_b"}), "zr_b: Field required"),
        (json.dumps(WHOLE)[:-1] + ', "height": 8}', "height: expected this key once, found it"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_description_is_named(text: str, said: str):
    with pytest.raises(ValueError, match=said):
        Description.from_json(text)


@pytest.mark.parametrize("stranger", ["archive.json", ".hidden"])
def test_a_writer_touches_no_folder_that_holds_something(tmp_path: Path, stranger: str):
    ArchiveWriter(tmp_path, DESCRIPTION)
    (tmp_path / stranger).write_text("mine")
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        ArchiveWriter(tmp_path, DESCRIPTION)
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        ArchiveWriter(tmp_path / stranger, DESCRIPTION)
    assert [path.name for path in tmp_path.iterdir()] == [stranger]


def test_a_writer_takes_one_size(tmp_path: Path):
    moment = np.datetime64("2020-01-01T00:00", "m")
    with ArchiveWriter(tmp_path / "new", DESCRIPTION) as writer:
        for height, width in ((6, 4), (4, 7)):
            wrong = np.zeros((height, width), dtype=np.uint8)
            with pytest.raises(ValueError, match=r"expected \(4, 6\)"):
                writer.write(moment, wrong, wrong == 0)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_what_is_interrupted_leaves_nothing(tmp_path: Path, interruption: type[BaseException]):
    levels = np.full((4, 6), 7, dtype=np.uint8)
    with (
        pytest.raises(interruption),
        ArchiveWriter(tmp_path / "new", DESCRIPTION) as writer,
    ):
        writer.write(np.datetime64("2020-01-01T00:00", "m"), levels, levels == 7)
        assert not (tmp_path / "new").exists()
        raise interruption
    assert not any(tmp_path.iterdir())


def test_what_a_killed_process_left_is_not_written_over(tmp_path: Path):
    (tmp_path / "new.part").mkdir()
    with (
        pytest.raises(ConfigError, match=r"new\.part: .*if none is at work, remove it"),
        ArchiveWriter(tmp_path / "new", DESCRIPTION),
    ):
        pass
    assert (tmp_path / "new.part").is_dir() and not (tmp_path / "new").exists()


def test_frames_days_apart_have_no_step_to_read_off(write_archive: Callable[..., Path]):
    root = write_archive({"train": ["2020-01-01T00:00", "2020-01-03T00:00"]})
    (root / "archive.json").unlink()
    with pytest.raises(ConfigError, match="expected frames at most 1440 minutes apart, found 2880"):
        Archive(root)


def test_a_description_keeps_its_grid_and_history(tmp_path: Path):
    grid = Grid("+proj=stere +lat_0=90", -10.5, 4000.0, 1.0, 1.0)
    stated = replace(DESCRIPTION, quantity="VIL", grid=grid, history=("one", "two"))
    assert Description.from_json(stated.to_json()) == stated
    assert Description.from_json(DESCRIPTION.to_json()) == DESCRIPTION
    assert "grid" not in DESCRIPTION.to_json()


def test_a_frame_of_another_size_is_named(write_archive: Callable[..., Path]):
    root = write_archive(DAYS)
    (root / "archive.json").write_text(json.dumps(WHOLE | {"height": 9}))
    archive = Archive(root)
    first = archive.moments[0]
    with pytest.raises(FrameError, match="expected 9x8 pixels") as error:
        archive.frame(first)
    assert str(frame_path(root, first)) in str(error.value)
    with pytest.raises(FrameError, match=r"expected 72 booleans \(9x8\), found 64"):
        archive.mask(first)


def test_real_radar_is_read_for_what_it_is(radar_dev: Path):
    archive = Archive(radar_dev)
    assert len(archive.moments) == 212
    assert archive.description.step_minutes == 5 and archive.shape == (480, 480)
    assert archive.origin == "read off the frames; Z-R of HKO-7"
    assert 1 - archive.usable.mean() == pytest.approx(0.404, abs=5e-4)
    sizes = {split: len(archive.moments_of(split)) for split in archive.days}
    assert sizes == {"train": 132, "valid": 40, "test": 40}
    # One disc of De Bilt's radar is 59.6 % of the window.
    assert archive.mask(archive.moments[0]).mean() == pytest.approx(0.596, abs=2e-3)
