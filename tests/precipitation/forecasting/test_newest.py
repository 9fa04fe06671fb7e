"""Which frames a forecast starts from, and what becomes of those that are missing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.frames import frame_path, mask_path, write_mask
from nowcast.precipitation.archive.pack import pack
from nowcast.precipitation.archive.packed import open_archive
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasting.inputs import FrameSource, newest
from nowcast.precipitation.forecasting.places import opened
from tests.conftest import every

Write = Callable[..., Path]
TWENTY = every(6, "2020-01-01T00:00", 20)  # frame n is filled with level n


def without(root: Path, *numbers: int) -> FrameSource:
    for number in numbers:
        frame_path(root, np.datetime64(TWENTY[number], "m")).unlink()
    return FrameSource(Archive(root), "frame")


@pytest.fixture
def root(write_archive: Write) -> Path:
    return write_archive({"test": TWENTY})


def test_the_newest_steps_are_taken(root: Path):
    found = newest(FrameSource(Archive(root), "frame"), 6)
    assert found.levels[:, 3, 3].tolist() == [14, 15, 16, 17, 18, 19]
    assert found.mask.all()
    assert [str(time) for time in found.times] == TWENTY[-6:]
    assert (str(found.init), found.carried, found.notes) == (TWENTY[-1], {}, [])


@pytest.mark.parametrize(
    ("at", "last", "notes"), [(TWENTY[9], 9, 0), ("2020-01-01T00:59", 9, 0), ("2020-01-03", 19, 1)]
)
def test_no_frame_after_the_time_that_is_asked_for(root: Path, at: str, last: int, notes: int):
    found = newest(FrameSource(Archive(root), "frame"), 4, np.datetime64(at, "m"))
    assert found.levels[:, 0, 0].tolist() == [last - 3, last - 2, last - 1, last]
    assert len(found.notes) == notes
    assert not notes or TWENTY[19] in found.notes[0]


def test_a_missing_frame_is_carried_and_said(root: Path):
    found = newest(without(root, 15, 17), 6)
    assert found.levels[:, 0, 0].tolist() == [14, 14, 16, 16, 18, 19]
    assert found.mask.any(axis=(1, 2)).tolist() == [True, False, True, False, True, True]
    assert list(found.carried) == [TWENTY[15], TWENTY[17]]
    assert TWENTY[15] in found.notes[0] and "carried" in found.notes[0]


def test_a_missing_first_frame_is_carried_from_the_one_before(root: Path):
    assert newest(without(root, 14), 6).levels[:, 0, 0].tolist() == [13, 15, 16, 17, 18, 19]
    with pytest.raises(DataError, match="found 5, from 2020-01-01T01:30"):
        newest(without(root, 13), 6)


@pytest.mark.parametrize("missing", [(15, 16), (14, 16, 18)], ids=["in a row", "more than 2 of 6"])
def test_too_many_missing_are_refused_with_a_way_out(root: Path, missing: tuple[int, ...]):
    source = without(root, *missing)
    with pytest.raises(DataError) as error:
        newest(source, 6)
    for part in ("expected 6 frames 6 minutes apart", TWENTY[14], TWENTY[19], "2 may be missing"):
        assert part in str(error.value)
    assert f"found {6 - len(missing)}, from" in str(error.value)
    way_out = np.datetime64(TWENTY[missing[0] - 1])
    assert f"--at {way_out}" in str(error.value)
    assert newest(source, 6, way_out).carried == {}


def test_too_few_frames_from_the_start(write_archive: Write):
    root = write_archive({"test": TWENTY[:3]})
    with pytest.raises(DataError, match=r"found 3, from 2020-01-01T00:00 to 2020-01-01T00:12"):
        newest(FrameSource(Archive(root), "frame"), 10)


def test_fewer_frames_do_where_the_forecaster_can_do_with_them(write_archive: Write):
    root = write_archive({"test": TWENTY[:5]})
    source = FrameSource(Archive(root), "frame")
    found = newest(source, 10, least=5)
    assert list(found.times.astype(str)) == TWENTY[:5]
    assert found.levels[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
    (note,) = found.notes
    assert note.startswith("5 input frames, from 2020-01-01T00:00 on: older ones are missing, of")
    with pytest.raises(DataError, match=r"expected 10 frames \(6 in a row would do\)") as error:
        newest(source, 10, least=6)
    assert (
        "weights for 5: comoving-ensemble, comoving-memel, comoving-open, persistence, flow"
        in str(error.value)
    )


def test_as_many_frames_as_can_be_are_taken_after_a_gap(root: Path):
    found = newest(without(root, 11, 12), 10, least=2)
    assert found.levels[:, 0, 0].tolist() == [13, 14, 15, 16, 17, 18, 19]


def test_a_damaged_frame_is_carried_and_a_damaged_newest_one_passed_over(root: Path):
    for number in (16, 19):
        path = frame_path(root, np.datetime64(TWENTY[number], "m"))
        path.write_bytes(path.read_bytes()[:-20])
    found = newest(FrameSource(Archive(root), "frame"), 6)
    assert found.levels[:, 0, 0].tolist() == [13, 14, 15, 15, 17, 18]
    assert "truncated" in found.carried[TWENTY[16]]
    assert "truncated" in found.passed_over[TWENTY[19]]
    assert len(found.notes) == 2


def test_a_frame_without_any_data_is_no_frame(root: Path):
    write_mask(root, np.datetime64(TWENTY[19], "m"), np.zeros((8, 8), dtype=bool))
    found = newest(FrameSource(Archive(root), "frame"), 6)
    assert str(found.init) == TWENTY[18]
    assert "masked everywhere" in found.passed_over[TWENTY[19]]


def test_a_time_before_the_first_frame(root: Path):
    with pytest.raises(ConfigError, match=r"not before the first frame .*2020-01-01T00:00"):
        newest(FrameSource(Archive(root), "frame"), 2, np.datetime64("2019-12-31", "m"))


def test_all_frames_damaged(root: Path):
    for time in TWENTY:
        mask_path(root, np.datetime64(time, "m")).write_bytes(b"")
    with pytest.raises(DataError, match="none of the newest 4 can be used"):
        newest(FrameSource(Archive(root), "frame"), 4)


def test_masks_as_the_forecaster_knows_them_where_the_archive_has_them(root: Path):
    own = np.ones((8, 8), dtype=bool)
    own[:, 0] = False
    write_mask(root, np.datetime64(TWENTY[19], "m"), own)
    usable = np.ones((8, 8), dtype=bool)
    usable[0] = False

    def mask_of(kind: str) -> tuple[np.ndarray, str]:
        found = newest(FrameSource(Archive(root), kind), 2)  # type: ignore[arg-type]
        return found.mask[-1], found.masks

    for kind, expected, words in (
        ("frame", own, "frame"),
        ("exclude", usable, "exclude"),
        ("both", own & usable, "frame and exclude"),
    ):
        mask, found = mask_of(kind)
        assert (mask == expected).all() and found == words
    (root / "hko_data" / "mask_dat.npz").unlink()
    mask, found = mask_of("exclude")
    assert (mask == own).all() and found == "frame"
    (root / "radarPNG_mask").rename(root / "away")
    mask, found = mask_of("both")
    assert mask.all() and found.startswith("none")


def test_an_archive_without_lists_is_enough(root: Path):
    (root / "hko_data").rename(root / "away")
    assert newest(FrameSource(Archive(root), "frame"), 4).levels.shape == (4, 8, 8)


def test_units_that_nobody_has_stated_are_said(root: Path):
    (root / "archive.json").unlink()
    (note,) = newest(FrameSource(Archive(root), "frame"), 4).notes
    assert "no archive.json" in note and "6 minutes" in note and "58.53 R^1.56" in note


def test_frames_by_name_are_the_input(root: Path):
    files = [frame_path(root, np.datetime64(time, "m")) for time in TWENTY[5:9]]
    archive, moments = opened(files)
    found = newest(FrameSource(archive, "frame"), 4, moments=moments)
    assert found.levels[:, 0, 0].tolist() == [5, 6, 7, 8]
    with pytest.raises(DataError, match="expected 5 frames"):  # others of the archive are not meant
        newest(FrameSource(archive, "frame"), 5, moments=moments)


def test_frames_that_lie_in_no_archive_or_in_two(root: Path, tmp_path: Path):
    file = frame_path(root, np.datetime64(TWENTY[0], "m"))
    loose = tmp_path / file.name
    loose.write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match="found neither"):
        opened([file, loose])
    with pytest.raises(ConfigError, match="found neither"):
        opened([file, file.with_name("RAD200101235900.png")])
    other = frame_path(tmp_path / "other", np.datetime64(TWENTY[0], "m"))
    other.parent.mkdir(parents=True)
    other.write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match="of one archive"):
        opened([file, other])


def test_a_pack_of_a_part_knows_where_its_part_lies(synthetic: Path, tmp_path: Path):
    whole = Archive(synthetic)
    file = tmp_path / "part.h5"
    pack(whole, file, crop=(8, 40, 16, 64))
    packed = open_archive(file)
    packed.description = replace(
        packed.description, grid=Grid("+proj=laea +units=km", 100.0, 900.0, 2.0, 1.0)
    )
    source = FrameSource(packed, "frame")
    found = newest(source, 3)
    assert (source.description.height, source.description.width) == (32, 48)
    grid = source.description.grid
    assert grid is not None and (grid.x_west, grid.y_north) == (132.0, 892.0)
    assert (found.levels[-1] == whole.frame(found.init)[8:40, 16:64]).all()
