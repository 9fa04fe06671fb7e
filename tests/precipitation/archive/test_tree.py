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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting"),
        ("[]", "expected an object with keys, found list"),
        ("7", "expected an object with keys, found int"),
        (
            json.dumps({key: value for key, value in WHOLE.items() if key != "zr_b"}),
            r"missing \['zr_b'\], unknown \[\]",
        ),
        (json.dumps(WHOLE | {"step": 6}), r"missing \[\], unknown \['step'\]"),
        (json.dumps(WHOLE | {"step_minutes": 0}), "step_minutes: expected 1 to 1440, found 0"),
        (json.dumps(WHOLE | {"step_minutes": 1441}), "step_minutes: expected 1 to 1440, found"),
        (json.dumps(WHOLE | {"width": -8}), "width: expected 1 to 67108864, found -8"),
        (json.dumps(WHOLE | {"width": 10**9}), "width: expected 1 to 67108864, found 10000"),
        (json.dumps(WHOLE | {"height": 8200, "width": 8200}), "pixels, found 8200x8200; correct"),
        (json.dumps(WHOLE | {"height": "8"}), "height: expected a whole number, found '8'"),
        (json.dumps(WHOLE | {"height": True}), "height: expected a whole number, found True"),
        (json.dumps(WHOLE | {"height": 8.0}), "height: expected a whole number, found 8.0"),
        (json.dumps(WHOLE | {"zr_a": 0.0}), "zr_a: expected a finite number above 0, found 0.0"),
        (json.dumps(WHOLE | {"zr_b": -1.5}), "zr_b: expected a finite number above 0, found -1"),
        (json.dumps(WHOLE | {"zr_a": math.inf}), "zr_a: expected a finite .* found inf; correct"),
        (json.dumps(WHOLE | {"zr_a": math.nan}), "zr_a: expected a finite .* found nan"),
        (json.dumps(WHOLE | {"zr_b": True}), "zr_b: expected a number, found True"),
        (
            json.dumps(WHOLE | {"zr_b": 10**400}),
            "zr_b: expected a finite number above 0, found inf",
        ),
        (json.dumps(WHOLE | {"name": None}), "name: expected text, found None"),
        (json.dumps(WHOLE | {"history": "one"}), "history: expected a list of lines, found 'one'"),
        (json.dumps(WHOLE | {"history": [1]}), "history: expected text, found 1"),
        (json.dumps(WHOLE)[:-1] + ', "height": 8}', "height: expected this key once, found it"),
        (json.dumps(WHOLE | {"quantity": "snow"}), "quantity: expected one of .* found 'snow'"),
        (json.dumps(WHOLE | {"grid": {"projection": "+proj=aeqd"}}), "x_west"),
        (
            json.dumps(WHOLE | {"grid": vars(Grid("", 0.0, 0.0, 1.0, 1.0)) | {"projection": 7}}),
            "grid: projection: expected text, found 7",
        ),
        (json.dumps(WHOLE | {"grid": [1]}), "grid: expected an object with keys, found .1"),
        (
            json.dumps(
                WHOLE
                | {
                    "grid": dict.fromkeys(("x_west", "y_north", "pixel_x", "pixel_y"), -1.0)
                    | {"projection": ""}
                }
            ),
            "grid: expected positive pixel_x and pixel_y, found -1 and -1",
        ),
        (
            json.dumps(
                WHOLE
                | {
                    "grid": dict.fromkeys(("x_west", "y_north", "pixel_x", "pixel_y"), math.inf)
                    | {"projection": ""}
                }
            ),
            "grid: x_west: expected a finite number, found inf",
        ),
    ],
)
def test_a_malformed_description_is_named(write_archive: Callable[..., Path], text: str, said: str):
    root = write_archive(DAYS)
    (root / "archive.json").write_text(json.dumps(WHOLE))
    assert Archive(root).description.name == "tiny"
    (root / "archive.json").write_text(text)
    with pytest.raises(DataError, match=rf"archive\.json: (?s:.)*{said}"):
        Archive(root)


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
