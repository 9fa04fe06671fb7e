"""An archive's hash: the same for what is the same, another for what gives other clips."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from nowcast.precipitation.archive.days import days_path
from nowcast.precipitation.archive.pack import pack
from nowcast.precipitation.archive.packed import open_archive
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.clips.identity import archive_hash
from nowcast.precipitation.settings import DataSettings


def hash_of(root: Path, **settings) -> str:
    return archive_hash(open_archive(root, None), DataSettings(root=root, **settings))


@pytest.fixture
def copy(synthetic: Path, tmp_path: Path) -> Path:
    return shutil.copytree(synthetic, tmp_path / "another_name")


def test_a_copy_and_a_pack_are_the_same_data(synthetic: Path, copy: Path, tmp_path: Path):
    pack(Archive(synthetic), tmp_path / "packed.h5")
    assert hash_of(synthetic) == hash_of(copy) == hash_of(tmp_path / "packed.h5")


def test_other_frames_days_or_step_are_other_data(copy: Path):
    before = hash_of(copy)
    frames = sorted((copy / "radarPNG").rglob("*.png"))
    levels = cv2.imread(str(frames[0]), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(frames[0]), np.where(levels == levels.max(), 3, levels))
    changed = hash_of(copy)
    frames[-1].unlink()
    fewer = hash_of(copy)
    lists = copy / "hko_data"
    valid, test = days_path(lists, "valid"), days_path(lists, "test")
    texts = valid.read_text(), test.read_text()
    valid.write_text(texts[1])
    test.write_text(texts[0])
    moved = hash_of(copy)
    assert len({before, changed, fewer, moved}) == 4
