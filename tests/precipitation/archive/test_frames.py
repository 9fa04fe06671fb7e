"""A frame is read whole or not at all: every kind of damage is an error that names its file."""

import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.frames import (
    FrameError,
    frame_path,
    frame_shape,
    list_moments,
    mask_path,
    read_frame,
    read_mask,
    write_frame,
    write_mask,
)

MOMENT = np.datetime64("2015-07-09T12:06", "m")
SHAPE = (12, 16)
LEVELS = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
MASK = np.random.default_rng(1).random(SHAPE) < 0.6


def png(levels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".png", levels, options)[1].tobytes()


def placed(root: Path, data: bytes) -> Path:
    path = root / "RAD150709120600.png"
    path.write_bytes(data)
    return path


def test_paths_are_those_of_hko7():
    root = Path("archive")
    assert frame_path(root, MOMENT) == root / "radarPNG/2015/07/09/RAD150709120600.png"
    assert mask_path(root, MOMENT) == root / "radarPNG_mask/2015/07/09/RAD150709120600.mask"


def test_what_is_written_is_read(tmp_path: Path):
    write_frame(tmp_path, MOMENT, LEVELS)
    write_mask(tmp_path, MOMENT, MASK)
    assert np.array_equal(read_frame(frame_path(tmp_path, MOMENT), SHAPE), LEVELS)
    assert np.array_equal(read_mask(mask_path(tmp_path, MOMENT), SHAPE), MASK)
    assert frame_shape(frame_path(tmp_path, MOMENT)) == SHAPE
    assert list_moments(tmp_path).tolist() == [MOMENT.item()]


def test_a_mask_holds_one_where_a_pixel_is_used(tmp_path: Path):
    write_mask(tmp_path, MOMENT, np.array([[True, False, True]]))
    assert zlib.decompress(mask_path(tmp_path, MOMENT).read_bytes()) == b"\1\0\1"


def test_moments_ascend_and_strangers_are_passed_over(tmp_path: Path):
    times = ["2016-01-01T00:00", "2015-12-31T23:54", "2015-07-09T12:06", "2015-07-09T02:00"]
    for time in times:
        write_frame(tmp_path, np.datetime64(time, "m"), LEVELS)
    day = tmp_path / "radarPNG/2015/07/09"
    for stranger in ("Thumbs.db", "RAD150709120600.png.part", "RAD1507091212.png", "x.png"):
        (day / stranger).write_bytes(b"not a frame")
    (day / "RAD150709121230.png").write_bytes(b"seconds are not on the grid")
    (tmp_path / "radarPNG/2015/07/extra").mkdir()
    (tmp_path / "radarPNG/2015/07/extra/RAD150709121800.png").write_bytes(b"in no day folder")
    found = list_moments(tmp_path)
    assert found.dtype == "datetime64[m]"
    assert [str(moment) for moment in found] == sorted(times)


@pytest.mark.parametrize(
    "name",
    [
        "RAD150710120600.png",
        "RAD150609120600.png",
        "RAD140709120600.png",
        "RAD150709240000.png",
        "RAD150709126000.png",
    ],
)
def test_a_name_that_contradicts_its_folder_is_named(tmp_path: Path, name: str):
    write_frame(tmp_path, MOMENT, LEVELS)
    (tmp_path / "radarPNG/2015/07/09" / name).write_bytes(png(LEVELS))
    with pytest.raises(FrameError, match=rf"{name}.* another time than its folder 2015/07/09"):
        list_moments(tmp_path)


def test_a_day_that_no_calendar_has_is_named(tmp_path: Path):
    folder = tmp_path / "radarPNG/2015/02/30"
    folder.mkdir(parents=True)
    (folder / "RAD150230120600.png").write_bytes(png(LEVELS))
    with pytest.raises(FrameError, match=r"2015/02/30: no calendar has this day"):
        list_moments(tmp_path)


def test_no_archive_and_an_empty_one_are_told_apart(tmp_path: Path):
    with pytest.raises(ConfigError, match="expected an archive with a radarPNG/ folder"):
        list_moments(tmp_path)
    (tmp_path / "radarPNG").mkdir()
    with pytest.raises(ConfigError, match="expected frames named"):
        list_moments(tmp_path)


def test_a_missing_frame_and_mask_are_named(tmp_path: Path):
    with pytest.raises(FrameError, match=r"RAD150709120600\.png: expected a file, found none"):
        read_frame(frame_path(tmp_path, MOMENT), SHAPE)
    with pytest.raises(FrameError, match=r"RAD150709120600\.mask: expected a file, found none"):
        read_mask(mask_path(tmp_path, MOMENT), SHAPE)
    with pytest.raises(FrameError, match="cannot be read"):
        read_frame(tmp_path, SHAPE)


@pytest.mark.parametrize("length", [0, 7, 8, 20, 33, 60, -60, -13])
def test_a_truncated_frame_is_named(tmp_path: Path, length: int):
    path = placed(tmp_path, png(LEVELS)[:length])
    with pytest.raises(FrameError, match=r"RAD150709120600\.png: expected a whole PNG"):
        read_frame(path, SHAPE)


def test_any_one_flipped_byte_before_the_end_is_noticed(tmp_path: Path):
    data = png(LEVELS)
    for position in range(len(data) - 4):  # the last chunk's checksum is of no pixel
        flipped = bytearray(data)
        flipped[position] ^= 0x55
        path = placed(tmp_path, bytes(flipped))
        with pytest.raises(FrameError, match=r"RAD150709120600\.png"):
            read_frame(path, SHAPE)


def chunks(data: bytes) -> list[bytes]:
    found, position = [], 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        found.append(data[position : position + 12 + length])
        position += 12 + length
    return found


@pytest.mark.parametrize("lost", ["first", "middle", "last", "all"])
def test_a_lost_chunk_is_noticed_though_all_checksums_hold(tmp_path: Path, lost: str):
    noise = np.random.default_rng(2).integers(0, 256, (200, 200), dtype=np.uint8)
    data = png(noise)
    header, *body, end = chunks(data)
    assert len(body) >= 3
    kept = {"first": body[1:], "middle": body[:1] + body[2:], "last": body[:-1], "all": []}[lost]
    path = placed(tmp_path, data[:8] + header + b"".join(kept) + end)
    with pytest.raises(FrameError, match="expected a whole PNG"):
        read_frame(path, (200, 200))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png(LEVELS.astype(np.uint16) * 257), "Pillow's mode I;16B"),
        (png(np.dstack([LEVELS] * 3)), "Pillow's mode RGB"),
        (png(np.dstack([LEVELS] * 4)), "Pillow's mode RGBA"),
        (png(np.where(MASK, 255, 0).astype(np.uint8), cv2.IMWRITE_PNG_BILEVEL, 1), "8-bit grey"),
        (png(LEVELS[:-1]), "expected 12x16 pixels as in the rest of the archive, found 11x16"),
        (png(LEVELS.T.copy()), "expected 12x16 .* found 16x12"),
    ],
    ids=["16 bit", "colour", "colour and alpha", "1 bit", "too low", "turned"],
)
def test_another_kind_of_image_is_named(tmp_path: Path, data: bytes, said: str):
    with pytest.raises(FrameError, match=rf"RAD150709120600\.png: .*{said}"):
        read_frame(placed(tmp_path, data), SHAPE)


def test_the_shape_of_what_is_no_png_is_an_error(tmp_path: Path):
    for data in (b"", png(LEVELS)[:25], b"GIF89a" + bytes(60)):
        with pytest.raises(FrameError, match=r"RAD150709120600\.png: expected a whole PNG"):
            frame_shape(placed(tmp_path, data))


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_frame_is_never_read_as_another(tmp_path: Path, data: st.DataObject):
    original = png(LEVELS)
    place = st.integers(0, len(original) - 1)
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3), label="damages")):
        kind = data.draw(st.sampled_from(["set", "cut", "lose", "insert", "repeat"]), label="kind")
        first, last = sorted((data.draw(place), data.draw(place)))
        if kind == "set":
            damaged[first : first + 1] = data.draw(st.binary(min_size=1, max_size=1))
        elif kind == "cut":
            del damaged[first:]
        elif kind == "lose":
            del damaged[first:last]
        elif kind == "insert":
            damaged[first:first] = data.draw(st.binary(max_size=20))
        else:
            damaged[first:first] = damaged[first:last]
    path = placed(tmp_path, bytes(damaged))
    try:
        levels = read_frame(path, SHAPE)
    except FrameError:
        return
    assert np.array_equal(levels, LEVELS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "found 0 and no end of the stream"),
        (b"no zlib", "expected zlib-compressed booleans"),
        (zlib.compress(b"\1" * 191), r"expected 192 booleans \(12x16\), found 191"),
        (zlib.compress(b"\1" * 193), "found more than 192"),
        (zlib.compress(MASK.tobytes())[:-9], "no end of the stream"),
        (zlib.compress(MASK.tobytes())[:-2], "found 192 and no end of the stream"),
        (zlib.compress(MASK.tobytes())[:-1] + b"\0", "expected zlib-compressed booleans"),
        (zlib.compress(b"\0\1\2" * 64), "expected booleans 0 and 1, found 2"),
        (zlib.compress(b"\0\1\xff" * 64), "expected booleans 0 and 1, found 255"),
    ],
    ids=["empty", "text", "short", "long", "cut", "sum cut", "sum wrong", "two", "255"],
)
def test_a_damaged_mask_is_named(tmp_path: Path, data: bytes, said: str):
    path = tmp_path / "RAD150709120600.mask"
    path.write_bytes(data)
    with pytest.raises(FrameError, match=rf"RAD150709120600\.mask: .*{said}"):
        read_mask(path, SHAPE)


def test_a_mask_that_inflates_without_end_is_not_followed(tmp_path: Path):
    path = tmp_path / "RAD150709120600.mask"
    path.write_bytes(zlib.compress(bytes(100 * 2**20), 1))
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match="found more than 192"):
            read_mask(path, SHAPE)
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    finally:
        tracemalloc.stop()
