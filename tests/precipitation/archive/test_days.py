"""Day lists: what is written is read, and a line that cannot be meant is named with its number."""

import math
from pathlib import Path

import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.days import days_path, read_days, read_splits, write_days


def listed(root: Path, text: str) -> Path:
    path = root / "days.txt"
    path.write_text(text)
    return path


def test_lists_have_hko7s_names(tmp_path: Path):
    assert days_path(tmp_path, "valid") == tmp_path / "hko7_rainy_valid_days.txt"


def test_days_depths_and_blank_lines(tmp_path: Path):
    days = read_days(listed(tmp_path, "20150709, 12.5\n\n20150711,3\n 20150710 \n"))
    assert list(days) == ["20150709", "20150711", "20150710"]
    assert (days["20150709"], days["20150711"]) == (12.5, 3.0)
    assert math.isnan(days["20150710"])


def test_what_is_written_is_read_in_order_of_days(tmp_path: Path):
    write_days(tmp_path / "new", "test", {"20151231": 0.04, "20150101": 101.25})
    path = days_path(tmp_path / "new", "test")
    assert path.read_text() == "20150101, 101.2\n20151231, 0.0\n"
    assert read_days(path) == {"20150101": 101.2, "20151231": 0.0}


@pytest.mark.parametrize(
    "line",
    [
        "2015-07-09, 1",
        "20150230, 1",
        "20151301, 1",
        "20150709 1",
        "20150709, wet",
        "20150709, 1, 2",
        "day",
        ", 3",
        "2015079, 1",
        "2015711, 1",
    ],
)
def test_a_malformed_line_is_named_with_its_number(tmp_path: Path, line: str):
    path = listed(tmp_path, f"20150101, 1\n\n{line}\n20150103, 2\n")
    with pytest.raises(DataError, match=r"days\.txt, line 3: expected `YYYYMMDD, mm`, found") as at:
        read_days(path)
    assert repr(line) in str(at.value)


def test_a_day_that_stands_twice_is_named(tmp_path: Path):
    path = listed(tmp_path, "20150709, 1\n20150710, 1\n20150709, 1\n")
    with pytest.raises(DataError, match=r"line 3: 20150709 stands twice"):
        read_days(path)


def test_a_list_that_is_not_there_is_named(tmp_path: Path):
    write_days(tmp_path, "train", {"20150101": 1.0})
    with pytest.raises(ConfigError, match=r"hko7_rainy_valid_days\.txt: expected a list of days"):
        read_splits(tmp_path)


def test_a_day_belongs_to_one_split(tmp_path: Path):
    write_days(tmp_path, "train", {"20150101": 1.0, "20150102": 2.0})
    write_days(tmp_path, "valid", {"20150103": 3.0})
    write_days(tmp_path, "test", {})
    assert read_splits(tmp_path) == {
        "train": {"20150101": 1.0, "20150102": 2.0},
        "valid": {"20150103": 3.0},
        "test": {},
    }
    write_days(tmp_path, "test", {"20150102": 2.0})
    with pytest.raises(DataError, match="20150102 stands in both the train and the test list"):
        read_splits(tmp_path)
