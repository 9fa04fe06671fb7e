"""A pack gives what its tree gives, and what is half-made is never taken for one."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.frames import frame_path
from nowcast.precipitation.archive.pack import pack
from nowcast.precipitation.archive.packed import Pack, open_archive
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.clips.clips import Clips
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.settings import DataSettings


@pytest.fixture(scope="module")
def packed(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packs") / "whole.h5"
    pack(Archive(synthetic), out)
    return out


def test_a_pack_says_what_its_tree_says(synthetic: Path, packed: Path):
    tree, file = open_archive(synthetic), open_archive(packed)
    assert isinstance(tree, Archive) and isinstance(file, Pack)
    assert file.description == tree.description and file.days == tree.days
    assert np.array_equal(file.usable, tree.usable)
    for split in ("train", "valid", "test"):
        assert np.array_equal(file.moments_of(split), tree.moments_of(split))
    for moment in tree.moments[::97]:
        assert np.array_equal(file.frame(moment), tree.frame(moment))
        assert np.array_equal(file.mask(moment), tree.mask(moment))


def test_frames_on_both_sides_of_a_gap_are_read_as_they_are_one_by_one(packed: Path):
    file = Pack(packed)
    gap = int(np.flatnonzero(np.diff(file.moments) == 2 * file.step)[0])
    wanted = file.moments[gap - 1] + file.step * np.arange(5)  # the third is not there
    whole = (slice(0, file.shape[0]), slice(0, file.shape[1]))
    levels = np.zeros((5, *file.shape), dtype=np.uint8)
    mask = np.zeros(levels.shape, dtype=bool)
    problems = file.reader(whole, 0).read(wanted, whole, levels, mask)
    assert [problem is None for problem in problems] == [True, True, False, True, True]
    assert not levels[2].any() and not mask[2].any()
    for number in (0, 1, 3, 4):
        assert np.array_equal(levels[number], file.frame(wanted[number]))
        assert np.array_equal(mask[number], file.mask(wanted[number]))


@pytest.mark.parametrize("codec", ["lz4", "zstd", "none"])
@pytest.mark.parametrize("masks", ["frame", "exclude", "both"])
def test_pack_and_tree_give_equal_batches(synthetic: Path, tmp_path: Path, masks: str, codec: str):
    out = tmp_path / "cut.h5"
    pack(Archive(synthetic), out, crop=(4, 60, 8, 56), masks=masks, codec=codec)  # type: ignore[arg-type]
    data = DataSettings(
        in_len=3, out_len=4, crop=(6, 54, 8, 56), random_crop=(24, 24), masks=masks, max_missing=2
    )
    draws = [Draw(0), Draw(41, 3, 24), Draw(200, 24, 0, turns=3, mirrored=True)]
    # A clip with a missing frame, turned: what is carried and masked must be alike.
    batches = []
    for root in (synthetic, out):
        clips = Clips(open_archive(root), "train", data, 1, (24, 24))
        holed = next(n for n in range(len(clips)) if clips[Draw(n)].missing.any())
        batches.append(clips.batch([*draws, Draw(holed, 1, 2, turns=1)]))
    tree, file = batches
    for name in ("levels", "mask", "times", "missing"):
        assert np.array_equal(getattr(tree, name), getattr(file, name)), name
    assert tree.missing.any() and tree.levels.any()


def test_whole_frames_are_not_read_from_a_cut_pack(synthetic: Path, tmp_path: Path):
    out = tmp_path / "cut.h5"
    pack(Archive(synthetic), out, crop=(0, 32, 8, 40), masks="exclude")
    with pytest.raises(ConfigError, match=r"only rows 0:32 and columns 8:40 were packed"):
        Clips(Pack(out), "train", DataSettings(masks="exclude"), 1)
    with pytest.raises(ConfigError, match="expected masks of frames"):
        Clips(Pack(out), "train", DataSettings(crop=(0, 32, 8, 40)), 1)
    with pytest.raises(ConfigError, match="carries the lists"):
        open_archive(out, tmp_path)


def test_a_stopped_pack_leaves_nothing_and_is_made_anew(
    synthetic: Path, packed: Path, tmp_path: Path
):
    out = tmp_path / "x.h5"

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(Archive(synthetic), out, progress=stop)
    assert not list(tmp_path.iterdir())
    seen: list[int] = []
    pack(Archive(synthetic), out, workers=2, progress=lambda done, total: seen.append(done))
    assert seen == list(range(len(Pack(out).moments) + 1))
    with h5py.File(out) as again, h5py.File(packed) as first:
        for name in ("levels", "times", "masks", "mask_of", "usable"):
            assert np.array_equal(again[name][...], first[name][...]), name
    with pytest.raises(ConfigError, match="expected a new file"):
        pack(Archive(synthetic), out)


def test_a_damaged_frame_stops_packing_unless_it_is_skipped(write_archive, tmp_path: Path):
    root = write_archive({"train": ["2015-07-09T10:00", "2015-07-09T10:06", "2015-07-09T10:12"]})
    archive = Archive(root)
    path = frame_path(root, archive.moments[1])
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=path.name):
        pack(archive, tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()
    pack(archive, tmp_path / "y.h5", skipped=archive.moments[1:2])
    assert Pack(tmp_path / "y.h5").moments.tolist() == archive.moments[[0, 2]].tolist()


FULL = """
import resource, signal, sys
from pathlib import Path
from nowcast.core.errors import NowcastError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.pack import pack
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    pack(Archive(Path(sys.argv[1])), Path(sys.argv[2]), codec="none")
except NowcastError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("room", [100, 200_000, 3_000_000])
def test_a_full_disk_is_said_and_leaves_no_pack(synthetic: Path, tmp_path: Path, room: int):
    out = tmp_path / "x.h5"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(synthetic), str(out), str(room)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr  # HDF5 has not brought it down
    assert done.stdout.startswith(f"OutputError {out}: cannot be written (File")
    assert not list(tmp_path.iterdir())
    pack(Archive(synthetic), out, codec="none")  # once there is room
    assert len(Pack(out).moments) == len(Archive(synthetic).moments)


@pytest.mark.parametrize("kept", [0, 100, 5000, -1])
def test_a_cut_off_pack_is_named(packed: Path, tmp_path: Path, kept: int):
    path = tmp_path / "cut.h5"
    path.write_bytes(packed.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cut\.h5"):
        Pack(path).frame(Pack(path).moments[-1])


def test_flipped_bytes_of_frames_are_noticed(packed: Path, tmp_path: Path):
    path = tmp_path / "flipped.h5"
    with h5py.File(packed) as file:
        chunk = file["levels"].id.get_chunk_info(0)
    data = bytearray(packed.read_bytes())
    for at in range(0, chunk.size, max(1, chunk.size // 40)):
        data[chunk.byte_offset + at] ^= 0x10
        path.write_bytes(data)
        data[chunk.byte_offset + at] ^= 0x10
        with pytest.raises(DataError, match="damaged"):
            damaged = Pack(path)
            damaged.frame(damaged.moments[0])


def test_other_files_are_no_packs(tmp_path: Path):
    with pytest.raises(ConfigError, match="found no file"):
        open_archive(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="found another HDF5 file"):
        Pack(tmp_path / "other.h5")
