"""Whatever becomes of a file, a reader gives back what was written or says what is wrong with it.

Two thousand real files, mutated: the documented error, or the very array. Files that are forged
and not damaged (their checksums hold) are written out one by one below.
"""

import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from nowcast.core.errors import DataError
from nowcast.precipitation.archive.days import days_path, read_days, read_splits, write_days
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import (
    FrameError,
    day_folders,
    frame_path,
    frame_shape,
    list_day,
    list_moments,
    mask_path,
    read_frame,
    read_mask,
    write_frame,
    write_mask,
)
from nowcast.precipitation.archive.masks import exclude_path, read_exclude, write_exclude
from nowcast.precipitation.archive.quarantine import Excluded, read_quarantine, write_quarantine
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from tests.mutations import mutations

MOMENT = np.datetime64("2015-07-09T12:06", "m")
SHAPE = (24, 32)
RNG = np.random.default_rng(0)
LEVELS = np.where(RNG.random(SHAPE) < 0.5, 0, RNG.integers(0, 256, SHAPE)).astype(np.uint8)
MASK = RNG.random(SHAPE) < 0.7
DAYS = {"20150709": 12.5, "20150711": 3.0, "20160229": 0.4}
DESCRIPTION = Description("tiny", "the tests", 6, *SHAPE, 58.53, 1.56, history=("made", "moved"))
EXCLUDED = [
    Excluded(MOMENT, "unreadable frame", 'a "bad", frame'),
    Excluded(MOMENT + 6, "mask missing", "none"),
]


def mutated(cases: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test on so many mutated files."""

    def wrap(test: Callable[..., None]) -> Callable[..., None]:
        checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
        return settings(
            max_examples=cases, deadline=None, derandomize=True, suppress_health_check=checks
        )(given(mutate=mutations())(test))

    return wrap


def mutate_file(path: Path, original: bytes, mutate: Callable[[bytes], bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mutate(original))


def written(write: Callable[[Path], object], path: Path) -> bytes:
    """The bytes that a writer makes of what it is given."""
    write(path)
    return path.read_bytes()


@mutated(500)
def test_a_mutated_frame_is_the_frame_or_an_error(tmp_path: Path, mutate: Callable):
    original = cv2.imencode(".png", LEVELS)[1].tobytes()
    path = frame_path(tmp_path, MOMENT)
    mutate_file(path, original, mutate)
    try:
        assert frame_shape(path) == SHAPE
    except FrameError as error:
        assert str(path) in str(error)
    try:
        levels = read_frame(path, SHAPE)
    except FrameError as error:
        assert str(path) in str(error)
    else:
        assert levels.dtype == np.uint8 and np.array_equal(levels, LEVELS)


@mutated(500)
def test_a_mutated_mask_is_the_mask_or_an_error(tmp_path: Path, mutate: Callable):
    original = zlib.compress(MASK.astype(np.uint8).tobytes())
    path = mask_path(tmp_path, MOMENT)
    mutate_file(path, original, mutate)
    try:
        mask = read_mask(path, SHAPE)
    except FrameError as error:
        assert str(path) in str(error)
    else:
        assert mask.dtype == bool and np.array_equal(mask, MASK)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
@mutated(150)
def test_a_mutated_exclude_mask_is_the_mask_or_an_error(
    tmp_path: Path, save: Callable, mutate: Callable
):
    file = io.BytesIO()
    save(file, exclude_mask=(~MASK).astype(np.uint8), outlier_mask=MASK)
    mutate_file(exclude_path(tmp_path), file.getvalue(), mutate)
    try:
        usable = read_exclude(tmp_path, SHAPE)
    except DataError as error:
        assert str(exclude_path(tmp_path)) in str(error)
    else:
        assert usable.dtype == bool and np.array_equal(usable, MASK)


@mutated(300)
def test_a_mutated_day_list_holds_days_or_is_an_error(tmp_path: Path, mutate: Callable):
    write_days(tmp_path / "original", "train", DAYS)
    path = days_path(tmp_path, "train")
    mutate_file(path, days_path(tmp_path / "original", "train").read_bytes(), mutate)
    try:
        days = read_days(path)
    except DataError as error:
        assert str(path) in str(error)
    else:  # text has no checksum: another digit may be another day
        for day, depth in days.items():
            assert np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}") and len(day) == 8
            assert not depth < 0 and depth != float("inf")


@mutated(300)
def test_a_mutated_quarantine_holds_moments_or_is_an_error(tmp_path: Path, mutate: Callable):
    original = written(lambda path: write_quarantine(path, EXCLUDED), tmp_path / "original.csv")
    path = tmp_path / "quarantine.csv"
    mutate_file(path, original, mutate)
    try:
        moments = read_quarantine(path)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert moments.dtype == "datetime64[m]" and not np.isnat(moments).any()
        assert (np.diff(moments) > np.timedelta64(0, "m")).all()


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("described") / "archive"
    with ArchiveWriter(root, DESCRIPTION) as writer:
        writer.write(MOMENT, LEVELS, MASK)
        writer.write(MOMENT + 6, LEVELS, MASK)
        writer.finish(MASK, {"train": {"20150709": 1.0}})
    return root


@mutated(300)
def test_a_mutated_description_describes_or_is_an_error(described: Path, mutate: Callable):
    path = described / "archive.json"
    mutate_file(path, DESCRIPTION.to_json().encode(), mutate)
    try:
        archive = Archive(described)
    except DataError as error:
        assert str(path) in str(error)
        return
    assert min(archive.description.step_minutes, *archive.shape) >= 1
    if archive.shape == SHAPE:
        assert np.array_equal(archive.frame(MOMENT), LEVELS)
    else:  # a number that is another number: no frame fits it
        with pytest.raises(FrameError, match="as in the rest of the archive, found 24x32"):
            archive.frame(MOMENT)


# Forged PNGs: every checksum holds.


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def forged(
    height: int = SHAPE[0],
    width: int = SHAPE[1],
    depth: int = 8,
    colour: int = 0,
    interlaced: int = 0,
    rows: bytes | None = None,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A PNG whose header claims what it is told to; `rows` is its compressed image."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    if rows is None:
        rows = zlib.compress(filtered(LEVELS))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            before,
            chunk(b"IDAT", rows),
            after,
            chunk(b"IEND", b""),
        )
    )


def filtered(levels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in levels)


def interlaced(levels: np.ndarray) -> bytes:
    """The seven passes of Adam7."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    rows = b"".join(filtered(levels[top::down, left::right]) for top, left, down, right in passes)
    return rows + filtered(levels[1::2])


def animation(x: int, y: int, height: int, width: int, number: int = 0) -> bytes:
    control = struct.pack(">IIIIIHHBB", number, width, height, x, y, 1, 10, 0, 0)
    return chunk(b"fcTL", control)


PALETTE = chunk(b"PLTE", bytes(range(256)) * 3)
CORNER = LEVELS[:12, :16].copy()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (forged(100_000, 100_000), "found 100000x100000"),
        (forged(2**31 - 1, 2**31 - 1), "found 2147483647x2147483647"),
        (forged(0, 0), "whole PNG"),
        (forged(SHAPE[1], SHAPE[0]), "found 32x24"),
        (forged(SHAPE[0] - 1), "found 23x32"),
        (forged(colour=3, before=PALETTE), "8-bit grey channel, found Pillow's mode P"),
        (forged(colour=4), "8-bit grey channel, found Pillow's mode LA"),
        (forged(colour=5), "whole PNG"),
        (forged(depth=16), "8-bit grey channel, found Pillow's mode I"),
        (forged(depth=4), "8-bit grey channel, found Pillow's mode L;4"),
        (forged(depth=7), "whole PNG"),
        (forged(interlaced=1), "without all rows"),
        (forged(interlaced=7), "without all rows"),
        (forged(rows=zlib.compress(filtered(LEVELS)[:-33])), "without all rows"),
        (forged(rows=zlib.compress(b"\7" + filtered(LEVELS)[1:])), "without all rows"),
        (forged(rows=b""), "without all rows"),
        (forged(before=chunk(b"IHDR", forged(8, 8)[16:29])), "found 8x8"),
        (forged(before=chunk(b"IEND", b"")), "whole PNG"),
        (
            forged(before=chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(50_000_000)))),
            "whole PNG",
        ),
        (
            forged(before=chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(50_000_000)))),
            "whole PNG",
        ),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b"") * 3, "whole PNG"),
        (b"\x89PNG\r\n\x1a\n" + forged()[33:], "whole PNG"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"short") + forged()[33:], "whole PNG"),
    ],
)
def test_a_forged_png_is_refused(
    tmp_path: Path, data: bytes, said: str, capfd: pytest.CaptureFixture[str]
):
    path = tmp_path / "RAD150709120600.png"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match=rf"RAD150709120600\.png: .*({said})"):
            read_frame(path, SHAPE)
        assert tracemalloc.get_traced_memory()[1] < 3 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        forged(),
        forged(rows=zlib.compress(interlaced(LEVELS)), interlaced=1),
        forged(rows=zlib.compress(filtered(LEVELS), 0)),
        forged(rows=zlib.compress(filtered(LEVELS) + bytes(50_000_000))),
        forged(before=chunk(b"gAMA", struct.pack(">I", 10_000))),
        forged(before=chunk(b"tRNS", b"\0\0")),
        forged(before=chunk(b"sBIT", b"\4") + chunk(b"bKGD", b"\0\7")),
        forged(before=PALETTE),
        forged(before=chunk(b"acTL", struct.pack(">II", 2, 0)) + animation(0, 0, *SHAPE)),
        forged(
            before=chunk(b"acTL", struct.pack(">II", 1, 0)),
            after=animation(4, 4, 12, 16)
            + chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(filtered(CORNER))),
        ),
        forged() + b"what an interrupted copy left",
    ],
)
def test_what_else_a_png_may_carry_changes_no_pixel(
    tmp_path: Path, data: bytes, capfd: pytest.CaptureFixture[str]
):
    path = tmp_path / "RAD150709120600.png"
    path.write_bytes(data)
    assert np.array_equal(read_frame(path, SHAPE), LEVELS)


@pytest.mark.parametrize("size", [(100_000, 100_000), (0, 5), (2**31 - 1, 2**31 - 1)])
def test_a_size_that_no_radar_has_is_not_taken_for_the_archives(
    tmp_path: Path, size: tuple[int, int]
):
    path = tmp_path / "x.png"
    path.write_bytes(forged(*size))
    with pytest.raises(FrameError, match=r"x\.png: expected (at most .* pixels|a whole PNG)"):
        frame_shape(path)
    path.write_bytes(forged()[:20] + b"\1" + forged()[21:])
    with pytest.raises(FrameError, match=r"x\.png: .*checksum"):
        frame_shape(path)


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path):
    for path, read in (
        (frame_path(tmp_path, MOMENT), read_frame),
        (mask_path(tmp_path, MOMENT), read_mask),
    ):
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.write(forged()[:8])
            file.truncate(10 * 2**30)  # sparse
        tracemalloc.start()
        try:
            with pytest.raises(FrameError, match=r"expected at most \d+ bytes, found 10737418240"):
                read(path, SHAPE)
            assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
        finally:
            tracemalloc.stop()


def test_a_mask_of_gigabytes_is_refused_before_it_is_read(tmp_path: Path):
    packer = zlib.compressobj(9)
    block = bytes(2**22)
    packed = b"".join([*(packer.compress(block) for _ in range(64)), packer.flush()])
    path = mask_path(tmp_path, MOMENT)
    path.parent.mkdir(parents=True)
    path.write_bytes(packed)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match="found more than 768"):
            read_mask(path, SHAPE)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(packed)
    finally:
        tracemalloc.stop()


# Forged npz files.


def npy(shape: tuple[int, ...], data: bytes, kind: str = "|u1", version: int = 1) -> bytes:
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + size + text + data


def npz(path: Path, member: bytes, packing: int = zipfile.ZIP_DEFLATED) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("exclude_mask.npy", member)


FLAGS = (~MASK).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (npy((10**6, 10**6), FLAGS), "found 1000000x1000000"),
        (npy((2**40, 2**40), FLAGS), "found 1099511627776x1099511627776"),
        (npy((-24, -32), FLAGS), "found -24x-32"),
        (npy((), FLAGS), "found "),
        (npy(SHAPE, FLAGS + bytes(300 * 2**20)), "another length"),
        (npy(SHAPE, FLAGS[:-1]), "another length"),
        (npy(SHAPE, FLAGS, "|V2000000000"), "not numbers"),
        (npy(SHAPE, FLAGS, "|O"), "not numbers"),
        (npy(SHAPE, FLAGS, "<U7"), "not numbers"),
        (npy(SHAPE, FLAGS, "nonsense"), "plain arrays"),
        (npy(SHAPE, FLAGS, version=2), "npy version"),
        (npy(SHAPE, FLAGS).replace(b"'shape'", b"'shale'"), "plain arrays"),
        (npy(SHAPE, FLAGS).replace(b"{'descr'", b"(((((((("), "plain arrays"),
        (npy(SHAPE, FLAGS).replace(b"{'descr'", b"'''descr'"), "plain arrays"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(100 * 2**20), "npy version"),
        (b"\x93NUMPY\1\0\xff\xff" + b"[" * 65535, "plain arrays"),
        (bytes(100 * 2**20), "plain arrays"),
        (b"", "plain arrays"),
    ],
)
def test_a_forged_exclude_mask_is_refused_before_it_is_read(
    tmp_path: Path, member: bytes, said: str
):
    npz(exclude_path(tmp_path), member)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=rf"mask_dat\.npz: .*{said}"):
            read_exclude(tmp_path, SHAPE)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


def test_other_packings_of_a_zip_are_read_or_refused_and_never_crash(tmp_path: Path):
    path = exclude_path(tmp_path)
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        npz(path, npy(SHAPE, FLAGS), packing)
        assert np.array_equal(read_exclude(tmp_path, SHAPE), MASK)
        data = bytearray(path.read_bytes())
        place = len(data) // 3
        data[place : place + 8] = b"\xff" * 8
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"mask_dat\.npz: expected an npz"):
            read_exclude(tmp_path, SHAPE)
    npz(path, npy(SHAPE, FLAGS))
    data = bytearray(path.read_bytes())
    data[6] |= 1  # says that it is encrypted, in both of its headers
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"mask_dat\.npz: expected an npz .*encrypted"):
        read_exclude(tmp_path, SHAPE)


def test_a_mask_of_another_number_type_or_order_is_the_same_mask(tmp_path: Path):
    for excluded in (~MASK, (~MASK).astype(">i8"), np.asfortranarray((~MASK).astype(float))):
        np.savez(exclude_path(tmp_path), exclude_mask=excluded)
        assert np.array_equal(read_exclude(tmp_path, SHAPE), MASK)


# Day lists and folders.


@pytest.mark.parametrize(
    "content",
    [
        b"../../etc/passwd, 1\n",
        b"/etc/passwd\n",
        b"20150709\0, 1\n",
        b"\0" * 100,
        b"20150709, 1\xff\n",
        "20150709, 1\n".encode("utf-16"),
        "２０１５０７０９, 1\n".encode(),
        b"20150709, -1\n",
        b"20150709, inf\n",
        b"20150709, 1e999\n",
        b"00010101, 1\n",
        b"99999999, 1\n",
        b"20150709; 1\n",
        b"20150709, 1\r20150709, 1\r",
    ],
)
def test_a_list_that_holds_something_else_is_refused(tmp_path: Path, content: bytes):
    path = days_path(tmp_path, "train")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"hko7_rainy_train_days\.txt"):
        read_days(path)


def test_a_list_from_windows_is_read(tmp_path: Path):
    path = days_path(tmp_path, "train")
    path.write_bytes(b"\xef\xbb\xbf20150709, 1.5\r\n20150711, nan\r\n\r\n")
    days = read_days(path)
    assert list(days) == ["20150709", "20150711"] and days["20150709"] == 1.5


def test_what_is_no_file_is_an_error_and_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    days_path(tmp_path, "train").mkdir()
    exclude_path(tmp_path).symlink_to(tmp_path / "pipe")
    with pytest.raises(DataError, match="no regular file"):
        read_splits(tmp_path)
    with pytest.raises(DataError, match="no regular file"):
        read_exclude(tmp_path, SHAPE)
    for read in (read_frame, read_mask):
        with pytest.raises(FrameError, match=r"pipe: cannot be read"):
            read(tmp_path / "pipe", SHAPE)
    with pytest.raises(FrameError, match=r"pipe: cannot be read"):
        frame_shape(tmp_path / "pipe")


def test_linked_folders_and_files_are_read_as_what_they_link_to(tmp_path: Path):
    real, root = tmp_path / "real", tmp_path / "archive"
    write_frame(real, MOMENT, LEVELS)
    write_mask(real, MOMENT, MASK)
    write_exclude(real / "hko_data", MASK)
    (root / "radarPNG/2015").mkdir(parents=True)
    (root / "radarPNG/2015/07").symlink_to(real / "radarPNG/2015/07")
    (root / "radarPNG_mask").symlink_to(real / "radarPNG_mask")
    assert list_moments(root).tolist() == [MOMENT.item()]
    assert np.array_equal(read_frame(frame_path(root, MOMENT), SHAPE), LEVELS)
    assert np.array_equal(read_mask(mask_path(root, MOMENT), SHAPE), MASK)


@pytest.mark.parametrize("what", ["file", "link to nowhere", "link to itself", "year 0"])
def test_a_day_that_is_no_folder_is_named_and_listed(tmp_path: Path, what: str):
    write_frame(tmp_path, MOMENT, LEVELS)
    month = tmp_path / "radarPNG/2015/07"
    day = month / "10"
    if what == "file":
        day.write_bytes(b"")
    elif what == "link to nowhere":
        day.symlink_to(tmp_path / "nowhere")
    elif what == "link to itself":
        day.symlink_to(day)
    else:
        day = tmp_path / "radarPNG/0000/07/10"
        day.mkdir(parents=True)
        (day / "RAD000710000000.png").write_bytes(forged())
    listed = {folder: list_day(folder) for folder in day_folders(tmp_path)}
    assert sum(len(found.moments) for found in listed.values()) == 1
    for found in listed.values():
        assert all(stray.path == day and stray.contradicts for stray in found.strays)
    if day in listed:
        assert listed[day].strays
        with pytest.raises(FrameError, match=str(day)):
            list_moments(tmp_path)


# Descriptions.


@pytest.mark.parametrize(
    "text",
    [
        DESCRIPTION.to_json().replace("58.53", "NaN"),
        DESCRIPTION.to_json().replace("58.53", "-Infinity"),
        DESCRIPTION.to_json().replace('"width": 32', f'"width": {"9" * 5000}'),
        DESCRIPTION.to_json().replace('"width": 32', '"width": 32.5'),
        DESCRIPTION.to_json().replace('"width": 32', '"width": 32, "width": -32'),
        DESCRIPTION.to_json().replace('"tiny"', '"\\ud800"').replace("}", ""),
        DESCRIPTION.to_json().replace('"width": 32', '"width": true'),
        DESCRIPTION.to_json().replace('"width": 32', f'"width": {10**9}'),
        "null",
        "",
        "\0",
    ],
)
def test_a_description_that_cannot_be_meant_is_refused(described: Path, text: str):
    (described / "archive.json").write_text(text)
    with pytest.raises(DataError, match=r"archive\.json"):
        Archive(described)


def test_a_description_of_the_largest_frames_reads_none(described: Path):
    huge = replace(DESCRIPTION, height=2**13, width=2**13)
    (described / "archive.json").write_text(huge.to_json())
    archive = Archive(described)
    with pytest.raises(FrameError, match="found 24x32"):
        archive.frame(MOMENT)
    with pytest.raises(FrameError, match="found 768"):
        archive.mask(MOMENT)
    with pytest.raises(DataError, match="found 24x32"):
        assert archive.usable.any()
