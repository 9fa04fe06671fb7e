"""A quarantine file is read as it was written, and a line that cannot be meant is named."""

from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.quarantine import Excluded, read_quarantine, write_quarantine

MOMENT = np.datetime64("2015-07-09T12:06", "m")


def test_what_is_written_is_read_once_and_ascending(tmp_path: Path):
    path = tmp_path / "new" / "quarantine.csv"
    lines = [
        Excluded(MOMENT + 6, "bad mask", 'found "2", not 1,\nin two lines'),
        Excluded(MOMENT, "missing mask", ""),
        Excluded(MOMENT, "bad frame", "x"),
    ]
    write_quarantine(path, lines)
    assert path.read_text() == (
        "moment,kind,detail\n"
        "2015-07-09T12:06,bad frame,x\n"
        "2015-07-09T12:06,missing mask,\n"
        '2015-07-09T12:12,bad mask,"found ""2"", not 1, in two lines"\n'
    )
    found = read_quarantine(path)
    assert found.dtype == "datetime64[m]"
    assert [str(moment) for moment in found] == ["2015-07-09T12:06", "2015-07-09T12:12"]
    assert [other.name for other in path.parent.iterdir()] == ["quarantine.csv"]


def test_nothing_to_skip_is_a_file_too(tmp_path: Path):
    write_quarantine(tmp_path / "q.csv", [])
    found = read_quarantine(tmp_path / "q.csv")
    assert len(found) == 0 and found.dtype == "datetime64[m]"


def test_a_file_from_windows_is_read(tmp_path: Path):
    (tmp_path / "q.csv").write_bytes(
        b"\xef\xbb\xbfmoment,kind,detail\r\n2015-07-09T12:06,bad mask,x\r\n"
    )
    assert read_quarantine(tmp_path / "q.csv").tolist() == [MOMENT.item()]


def test_an_absent_file_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"q\.csv: .*nowcast data check ROOT --quarantine FILE"):
        read_quarantine(tmp_path / "q.csv")


@pytest.mark.parametrize(
    "line",
    [
        "2015-07-09 12:06,bad mask,x",
        "2015-07-09T12:06:00,bad mask,x",
        "2015-02-30T12:06,bad mask,x",
        "2015-07-09T24:06,bad mask,x",
        "2015-07-09T12:06,bad mask",
        "2015-07-09T12:06,bad mask,x,y",
        "2015-07-09,bad mask,x",
        "NaT,bad mask,x",
        "today,bad mask,x",
        '2015-07-09T12:06,bad mask,"x',
        "２015-07-09T12:06,bad mask,x",
        "",
    ],
)
def test_a_malformed_line_is_named_with_its_number(tmp_path: Path, line: str):
    path = tmp_path / "q.csv"
    path.write_text(f"moment,kind,detail\n2015-07-09T12:00,a,b\n{line}\n2015-07-09T12:12,a,b\n")
    with pytest.raises(DataError, match=r"q\.csv, line 3: expected `YYYY-MM-DDTHH:MM,kind,") as at:
        read_quarantine(path)
    assert repr(line) in str(at.value)


@pytest.mark.parametrize("content", [b"", b"moment,kind\n", b"2015-07-09T12:00,a,b\n"])
def test_another_header_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "q.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"q\.csv, line 1: expected `moment,kind,detail`"):
        read_quarantine(tmp_path / "q.csv")


def test_what_is_no_text_file_is_named(tmp_path: Path):
    (tmp_path / "q.csv").write_bytes(b"moment,kind,detail\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"q\.csv: expected a quarantine file"):
        read_quarantine(tmp_path / "q.csv")
    with pytest.raises(DataError, match="no regular file"):
        read_quarantine(tmp_path)
