"""The index spares listing a tree, and is never older than the tree."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import every

from nowcast.precipitation import frames, index
from nowcast.precipitation.archive import Archive
from nowcast.precipitation.frames import frame_path

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


def test_the_index_lists_runs_with_split_and_episode(write_archive: Callable[..., Path]):
    root = write_archive(DAYS)
    listed = Archive(root).moments
    assert not (root / index.INDEX).exists()  # too fresh to be trusted
    settle(root)
    assert np.array_equal(Archive(root).moments, listed)
    _, *rows = (root / index.INDEX).read_text().splitlines()
    assert rows == [
        "first,last,step_minutes,frames,split,episode",
        "2015-07-09T10:00,2015-07-09T10:18,6,4,train,1",
        "2015-07-09T20:00,2015-07-09T20:06,6,2,train,2",
        "2015-07-10T00:00,2015-07-10T00:12,6,3,valid,3",
        "2015-07-12T00:03,2015-07-12T00:03,6,1,test,4",
    ]


def test_an_indexed_tree_is_not_listed(
    write_archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    root = write_archive(DAYS)
    settle(root)
    listed = Archive(root).moments
    monkeypatch.setattr(frames, "list_moments", lambda root: pytest.fail("listed"))
    assert np.array_equal(Archive(root).moments, listed)


def test_a_changed_tree_or_list_is_listed_again(write_archive: Callable[..., Path]):
    root = write_archive(DAYS)
    settle(root)
    first = Archive(root).moments
    frame_path(root, first[2]).unlink()
    assert np.array_equal(Archive(root).moments, np.delete(first, 2))
    settle(root)
    days = root / "hko_data" / "hko7_rainy_valid_days.txt"
    days.write_text("")
    Archive(root)
    assert "valid" not in (root / index.INDEX).read_text()


@pytest.mark.parametrize("damage", ["", "x", "frames"])
def test_a_damaged_index_is_made_anew(write_archive: Callable[..., Path], damage: str):
    root = write_archive(DAYS)
    settle(root)
    listed = Archive(root).moments
    path = root / index.INDEX
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) if damage == "frames" else damage)
    assert np.array_equal(Archive(root).moments, listed)
    assert path.read_text() == "".join(lines)


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
