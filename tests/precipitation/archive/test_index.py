"""The index spares listing a tree, and is never older than the tree."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.storage import files
from nowcast.core.storage.cache import cache_folder
from nowcast.precipitation.archive import frames, index
from nowcast.precipitation.archive.frames import frame_path
from nowcast.precipitation.archive.tree import Archive
from tests.conftest import every

DAYS = {
    "train": [*every(6, "2015-07-09T10:00", 4), *every(6, "2015-07-09T20:00", 2)],
    "valid": every(6, "2015-07-10T00:00", 3),
    "test": ["2015-07-12T00:03"],
}


def settle(root: Path) -> None:
    """Make the tree look as if nothing had changed for a minute."""
    for folder in root.rglob("*"):
        if folder.is_dir():
            os.utime(folder, (time.time() - 60,) * 2)


def path_of(root: Path) -> Path:
    path = index.index_path(root)
    assert path is not None
    return path


def test_the_index_lists_runs_in_the_users_cache(write_archive: Callable[..., Path]):
    root = write_archive(DAYS)
    before = sorted(root.rglob("*"))
    listed = Archive(root).moments
    assert not path_of(root).exists()  # too fresh to be trusted
    settle(root)
    assert np.array_equal(Archive(root).moments, listed)
    _, *rows = path_of(root).read_text().splitlines()
    assert rows == [
        "first,step_minutes,frames",
        "2015-07-09T10:00,6,4",
        "2015-07-09T20:00,6,2",
        "2015-07-10T00:00,6,3",
        "2015-07-12T00:03,6,1",
    ]
    assert sorted(root.rglob("*")) == before


def test_an_indexed_tree_is_not_listed(
    write_archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    root = write_archive(DAYS)
    settle(root)
    listed = Archive(root).moments
    monkeypatch.setattr(frames, "list_moments", lambda root: pytest.fail("listed"))
    assert np.array_equal(Archive(root).moments, listed)


def test_a_changed_tree_is_listed_again(write_archive: Callable[..., Path]):
    root = write_archive(DAYS)
    settle(root)
    first = Archive(root).moments
    frame_path(root, first[2]).unlink()
    assert np.array_equal(Archive(root).moments, np.delete(first, 2))


def test_another_tree_at_the_same_place_is_listed_again(write_archive: Callable[..., Path]):
    root = write_archive(DAYS)
    settle(root)
    first = Archive(root).moments
    shutil.rmtree(root)
    write_archive({"train": every(6, "2015-07-09T10:00", 2)})
    settle(root)
    assert np.array_equal(Archive(root).moments, first[:2])


@pytest.mark.parametrize("damage", ["", "x", "frames", "digit", "bytes"])
def test_a_damaged_index_is_made_anew(write_archive: Callable[..., Path], damage: str):
    root = write_archive(DAYS)
    settle(root)
    listed = Archive(root).moments
    path = path_of(root)
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    damaged = {"frames": "".join(lines[:-1]), "digit": whole.replace("10:00,6,4", "10:00,6,5")}
    path.write_bytes(b"\xff\xfe" if damage == "bytes" else damaged.get(damage, damage).encode())
    assert np.array_equal(Archive(root).moments, listed)
    assert path.read_text() == whole


@pytest.mark.parametrize("way", ["no home", "a file in the way", "full disk", "a folder"])
def test_an_archive_is_read_without_a_cache(
    write_archive: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    root = write_archive(DAYS)
    settle(root)
    if way == "no home":
        monkeypatch.setattr(index, "cache_folder", lambda kind: None)
    elif way == "full disk":
        monkeypatch.setattr(files.os, "fsync", _full)
    else:
        (tmp_path / "cache").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        if way == "a folder":
            (tmp_path / "cache").unlink()
            path_of(root).mkdir(parents=True)
    assert len(Archive(root).moments) == 10
    assert not [path for path in root.rglob("*") if "index" in path.name]


def _full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_cache_folder_is_absolute_or_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("index") == tmp_path / "nowcast" / "index"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/nowcast"))
    assert cache_folder("index") is None  # a user without a home


@pytest.mark.parametrize("inside", ["hko_data", "radarPNG", "."])
def test_hko7_is_found_where_it_is_unpacked(
    write_archive: Callable[..., Path], tmp_path: Path, inside: str
):
    root = write_archive(DAYS)
    place = tmp_path / "HKO-7" / inside
    place.mkdir(parents=True)
    for name in ("radarPNG", "radarPNG_mask"):
        (root / name).rename(place / name)
    lists = place if inside == "hko_data" else place / "hko_data"
    lists.mkdir(exist_ok=True)
    for path in (root / "hko_data").iterdir():
        path.rename(lists / path.name)
    for given in (tmp_path / "HKO-7", place, place / "radarPNG"):
        archive = Archive(given)
        assert len(archive.moments_of("train")) == 6 and archive.usable.shape == (8, 8)
