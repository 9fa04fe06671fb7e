"""Names on a page: the folder's own, as short as tells it from the others, never a whole path."""

from pathlib import Path

import pytest

from nowcast.core.errors import ConfigError
from nowcast.core.storage.labels import labels, split_label

SECTIONS = {"data", "train", "memel", "start_from"}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("first", "deep/first", "deep/second", "cmp/P/seed0", "cmp/T/seed0", "a=b"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(*texts: str) -> list[str]:
    return list(labels([split_label(text, SECTIONS) for text in texts]))


def test_a_run_is_called_by_its_folder(folders: Path):
    assert called(str(folders / "first"), "deep/second/", "flow") == ["first", "second", "flow"]
    assert called(".") == [folders.name]


def test_folders_of_one_name_are_told_apart_by_those_above(folders: Path):
    first, second = called("first", "deep/first")
    assert (first, second) == (f"{folders.name}/first", "deep/first")
    assert called("cmp/P/seed0", "cmp/T/seed0") == ["P/seed0", "T/seed0"]
    assert called("cmp/P/seed0") == ["P/seed0"]  # seed0 alone says nothing
    (folders / "flow").mkdir()
    assert called("flow/", "x=flow") == ["flow", "x"]


def test_a_folder_is_told_from_a_baseline_and_from_a_given_name(folders: Path):
    (folders / "deep" / "flow").mkdir()
    assert called("deep/flow", "flow") == ["deep/flow", "flow"]
    assert called("first=deep/second", "first") == ["first", f"{folders.name}/first"]


def test_a_name_is_given_with_an_equals_sign(folders: Path):
    assert labels([split_label("small=first", SECTIONS)]) == {"small": "first"}
    assert called("motion=flow", "a=b") == ["motion", "a=b"]  # the last is a folder


@pytest.mark.parametrize(
    "text",
    ["data.root=first", "start_from=first", "memel=null", "lr=3", "x=true", "=first", "train={}"],
)
def test_a_change_of_the_config_is_no_name(folders: Path, text: str):
    assert split_label(text, SECTIONS) == (None, text)


@pytest.mark.parametrize(
    "texts",
    [("flow", "flow"), ("first", "first/"), ("a=first", "a=deep/first"), ("flow", "flow=first")],
)
def test_nobody_is_named_twice(folders: Path, texts: tuple[str, ...]):
    with pytest.raises(ConfigError, match=r"expected each .* once, found .* twice; leave one out"):
        called(*texts)
    assert called("a=first", "b=first") == ["a", "b"]
