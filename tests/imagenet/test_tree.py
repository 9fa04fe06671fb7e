"""Which files are images of which class."""

import os
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.imagenet.data.ground_truth import ILSVRC
from nowcast.imagenet.data.tree import list_images
from nowcast.imagenet.data.unreadable import Unreadable, read_unreadable, write_unreadable
from tests.imagenet.image_files import write_tree


def touch(root: Path, *files: str) -> Path:
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x" * (number + 1))
    return root


def test_classes_are_the_sorted_folders_and_images_are_sorted(tmp_path: Path):
    kinds = ("b/2.JPEG", "b/1.jpg", "a/z.PNG", "a/y.webp", "a/x.TIF", "a/w.bmp", "B/v.tiff")
    ignored = ("a/.hidden.png", "a/notes.txt", ".cache/1.png", "loose.png")
    touch(tmp_path, *(f"train/{name}" for name in (*kinds, *ignored)))
    found = list_images(tmp_path, "train")
    assert found.classes == ("B", "a", "b")
    expected = ["B/v.tiff", "a/w.bmp", "a/x.TIF", "a/y.webp", "a/z.PNG", "b/1.jpg", "b/2.JPEG"]
    assert [found.file(n) for n in range(len(found))] == [f"train/{name}" for name in expected]
    assert found.labels.tolist() == [0, 1, 1, 1, 1, 2, 2]
    assert found.path(5) == tmp_path / "train/b/1.jpg"


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_folder_has_the_classes_of_training(tmp_path: Path, name: str):
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "train/c/1.png", f"{name}/c/2.png")
    found = list_images(tmp_path, "valid")
    assert found.labels.tolist() == [2] and found.classes == ("a", "b", "c")
    assert found.without_images() == ["a", "b"]
    with pytest.raises(ConfigError, match="expected a folder test with a folder of images"):
        list_images(tmp_path, "test")
    touch(tmp_path, f"{name}/d/2.png", f"{name}/e/2.png")
    with pytest.raises(DataError, match="classes of the training split, found d, e;"):
        list_images(tmp_path, "valid")


def test_what_is_no_tree_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"expected a folder train .* found nothing"):
        list_images(tmp_path, "train")
    with pytest.raises(ConfigError, match="split: expected one of train, valid, test"):
        list_images(tmp_path, "dev")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="a folder of images for each class, found none"):
        list_images(tmp_path, "train")
    touch(tmp_path, "train/a/1.png", "train/b/sub/1.png", "train/c/1.txt", "val/a/1.png")
    with pytest.raises(DataError, match=r"of every class, found none of b, c;"):
        list_images(tmp_path, "train")
    touch(tmp_path, "val/2.png")
    with pytest.raises(DataError, match=r"class folders or images, found both \(a; 2.png\)"):
        list_images(tmp_path, "valid")


def test_the_hash_is_of_names_labels_and_sizes(tmp_path: Path):
    root = write_tree(tmp_path, {"train/a": 2, "train/b": 1})
    first = list_images(root, "train").hash
    assert list_images(root, "train").hash == first
    path = root / "train/a/train_a_0.JPEG"
    path.write_bytes(path.read_bytes() + b"\0")
    longer = list_images(root, "train").hash
    path.rename(root / "train/b/train_a_0.JPEG")
    moved = list_images(root, "train").hash
    assert len({first, longer, moved}) == 3


def test_listed_files_are_left_out_whatever_their_names(tmp_path: Path):
    odd = 'train/a/odd, "name"\n.png'
    no_utf8 = os.fsdecode(b"train/a/\xff.png")
    touch(tmp_path, "train/a/1.png", "train/b/1.png", odd, no_utf8)
    whole = list_images(tmp_path, "train")
    listed = tmp_path / "unreadable.csv"
    write_unreadable(listed, [Unreadable(odd, "two\nlines"), Unreadable(no_utf8, "why")])
    assert listed.read_text(errors="replace").startswith("file,reason\n")
    left_out = read_unreadable(listed)
    assert left_out == {odd, no_utf8}
    kept = list_images(tmp_path, "train", left_out=left_out)
    assert (len(whole), len(kept)) == (4, 2) and kept.hash != whole.hash
    with pytest.raises(DataError, match="of every class, found none of b"):
        list_images(tmp_path, "train", left_out=left_out | {"train/b/1.png"})


def test_a_list_of_another_form_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="--unreadable FILE"):
        read_unreadable(tmp_path / "none.csv")
    (tmp_path / "list.csv").write_text("train/a/1.png\n")
    with pytest.raises(DataError, match="line 1: expected `file,reason`"):
        read_unreadable(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("file,reason\ntrain/a/1.png\n")
    with pytest.raises(DataError, match="entry 2: expected `file,reason`"):
        read_unreadable(tmp_path / "list.csv")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Classes n1, n2, n3, and val/ with four images and no classes."""
    trained = [f"train/n{number}/1.png" for number in (1, 2, 3)]
    return touch(tmp_path, *trained, *(f"val/v{number}.JPEG" for number in (4, 2, 3, 1)))


def test_a_flat_folder_takes_its_classes_from_names(flat: Path):
    with pytest.raises(DataError, match=r"found 4 images without; .* data\.val_labels"):
        list_images(flat, "valid")
    lines = ["v3.JPEG n3", "v1.JPEG n2", "v2.JPEG n1", "v4.JPEG n2"]
    (flat / "val/val_labels.txt").write_text("\n".join(lines))
    found = list_images(flat, "valid")
    assert [found.file(n) for n in range(4)] == [f"val/v{n}.JPEG" for n in (1, 2, 3, 4)]
    assert found.labels.tolist() == [1, 0, 2, 1]
    (flat / "other.txt").write_text("\n".join(lines).replace("n3", "n1"))
    other = list_images(flat, "valid", flat / "other.txt")
    assert other.labels.tolist() == [1, 0, 0, 1] and other.hash != found.hash


def test_a_flat_test_folder_has_a_file_of_its_own(flat: Path):
    touch(flat, "test/v1.JPEG")
    (flat / "val_labels.txt").write_text("v1.JPEG n3")  # of val
    with pytest.raises(DataError, match="expected class folders, found 1 images without"):
        list_images(flat, "test", flat / "val_labels.txt")
    (flat / "test/ground_truth.txt").write_text("v1.JPEG n2")
    assert list_images(flat, "test", flat / "val_labels.txt").labels.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v1.JPEG n1\nv2.JPEG n1\nv4.JPEG n1", "found none of v3.JPEG and 0 others"),
        ("v1.JPEG n1\nv1.JPEG n2", "found one twice"),
        ("v1.JPEG n1\nv2.JPEG n1\nv3.JPEG 7\nv4.JPEG n9", "training split, found 7, n9;"),
        ("v1.JPEG n1\nn2", r"found \[1, 2\] words"),
        ("", "found no words"),
        ("1\n2\n3", "a number for each of 4 images, found 3"),
        ("1\n2\n3\n3", "expected a list of the classes .* found no synsets.txt"),
    ],
)
def test_a_wrong_file_of_classes_is_an_error(flat: Path, text: str, said: str):
    (flat / "val.txt").write_text(text)
    with pytest.raises(DataError, match=said):
        list_images(flat, "valid")


def test_imagenets_own_numbers_are_those_of_the_list_beside_them(flat: Path):
    (flat / ILSVRC).write_text("1\n1\n3\n2\n")  # of v1 to v4
    (flat / "synsets.txt").write_text("n3 a kit fox\nn1 an English setter\nn2\n")
    assert list_images(flat, "valid").labels.tolist() == [2, 2, 1, 0]
    (flat / "synsets.txt").write_text("n3\nn1\n")
    with pytest.raises(DataError, match=r"numbers from 1 to 2, .* found '3'"):
        list_images(flat, "valid")
    (flat / "synsets.txt").write_text("n3\nn1\nn1\n")
    with pytest.raises(DataError, match="each class once"):
        list_images(flat, "valid")
    (flat / "synsets.txt").write_text("\n".join(f"n{number:04}" for number in range(1000)))
    with pytest.raises(DataError, match="found them sorted by name, which gives other labels"):
        list_images(flat, "valid")


def test_files_are_bytes_in_one_array(tmp_path: Path):
    touch(tmp_path, "train/a/1.png", "train/a/long_name.png")
    found = list_images(tmp_path, "train")
    assert isinstance(found.files, np.ndarray) and found.files.dtype.kind == "S"
