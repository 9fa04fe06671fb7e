"""`nowcast data images`: what is in a tree, and what of it cannot be read."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nowcast.imagenet.data.tree import list_images
from nowcast.imagenet.data.unreadable import read_unreadable
from tests.imagenet.image_files import encoded, picture, write_tree

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = write_tree(tmp_path / "tree", {"train/a": 3, "train/b": 2, "val/a": 2})
    (root / "train/b/large.JPEG").write_bytes(encoded(picture(0, 100, 80), "PNG"))
    return root


def test_a_tree_that_can_be_read(run: Run, tree: Path, tmp_path: Path):
    file = tmp_path / "found.json"
    status, out, err = run("data", "images", tree, "--json", file, "--workers", 1)
    assert status == 0, err
    assert "5 JPEG, 1 PNG" in out and "40 / 40 / 80" in out and "60 / 60 / 100" in out
    assert "valid: no images of b" in out and "images a second were decoded by 1 proc" in out
    train, valid = json.loads(file.read_text())
    assert train["formats"] == {"JPEG": 5, "PNG": 1} and train["unreadable"] == []
    assert valid["images"] == 2 and valid["classes_without_images"] == ["b"]
    assert train["hash"] == list_images(tree, "train").hash


def test_what_cannot_be_read_is_listed_and_left_out(run: Run, tree: Path, tmp_path: Path):
    (tree / "train/a/train_a_0.JPEG").write_bytes(b"")
    (tree / "val/a/val_a_1.JPEG").write_bytes(b"\xff\xd8\xff no picture")
    listed, file = tmp_path / "unreadable.csv", tmp_path / "found.json"
    status, out, _ = run("data", "images", tree, "--unreadable", listed, "--json", file)
    assert status == 1
    assert "train_a_0.JPEG: expected an image, found an empty file" in out
    assert f"data.unreadable={listed}" in out
    left_out = read_unreadable(listed)
    assert left_out == {"train/a/train_a_0.JPEG", "val/a/val_a_1.JPEG"}
    assert [len(split["unreadable"]) for split in json.loads(file.read_text())] == [1, 1]
    assert len(list_images(tree, "train", left_out=left_out)) == 5


def test_no_tree_is_status_2(run: Run, tmp_path: Path):
    status, _, err = run("data", "images", tmp_path)
    assert status == 2 and "expected a folder train" in err


def test_a_name_that_is_no_text_is_shown_and_kept(run: Run, tree: Path, tmp_path: Path):
    name = os.fsdecode(b"train/a/\xff.png")
    (tree / name).write_bytes(b"no picture")
    listed, file = tmp_path / "unreadable.csv", tmp_path / "found.json"
    status, out, err = run("data", "images", tree, "--unreadable", listed, "--json", file)
    assert status == 1, err
    assert "\\udcff.png: expected an image" in out
    assert json.loads(file.read_text())[0]["unreadable"][0]["file"] == "train/a/\\udcff.png"
    assert read_unreadable(listed) == {name}
