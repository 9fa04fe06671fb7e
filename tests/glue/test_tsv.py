"""Rows of a TSV file are those of the file, and what cannot be meant is named by line and byte."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowcast.core.errors import DataError
from nowcast.glue.data.tsv import Broken, read_rows
from tests.glue.glue_files import write

FIELD = st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), max_size=6)


def test_columns_come_in_the_asked_order_with_their_lines(tmp_path: Path):
    path = write(tmp_path / "a.tsv", "x|y|z", "1|2|3", "4||6")
    assert list(read_rows(path, ["z", "x"])) == [(2, ["3", "1"]), (3, ["6", "4"])]


def test_without_a_header_the_first_line_is_a_row(tmp_path: Path):
    path = write(tmp_path / "a.tsv", "1|2", "3|4")
    assert list(read_rows(path, ["b"], header=["a", "b"])) == [(1, ["2"]), (2, ["4"])]


def test_a_quotation_mark_is_a_character(tmp_path: Path):
    path = write(tmp_path / "a.tsv", "x|y", 'he said "no|"', '"a|b"')
    assert [row for _, row in read_rows(path, ["x", "y"])] == [['he said "no', '"'], ['"a', 'b"']]


def test_a_file_from_windows_and_a_last_line_without_end(tmp_path: Path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\xef\xbb\xbfx\ty\r\na\r\tb\r\r\nc\td")
    assert [row for _, row in read_rows(path, ["x", "y"])] == [["a\r", "b\r"], ["c", "d"]]


@given(rows=st.lists(st.lists(FIELD, min_size=2, max_size=2), min_size=1, max_size=5))
def test_only_lf_ends_a_line_and_only_a_tab_a_column(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
):
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    path.write_bytes("".join(f"{a}\t{b}\r\n" for a, b in [["x", "y"], *rows]).encode())
    assert [row for _, row in read_rows(path, ["x", "y"])] == rows


def test_another_number_of_columns_is_no_row(tmp_path: Path):
    path = write(tmp_path / "a.tsv", "x|y", "1|2|3", "", "4|5")
    assert list(read_rows(path, ["x"])) == [
        (2, Broken("expected 2 columns, found 3")),
        (3, Broken("expected 2 columns, found 1")),
        (4, ["4"]),
    ]


def test_a_byte_that_is_no_utf8_is_named_by_line_and_column(tmp_path: Path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"x\ty\nfine\tfine\n\xc3\xa9\tcaf\xe9\n")
    with pytest.raises(DataError, match=r"a\.tsv:3: expected UTF-8, found byte 0xe9 .*column 7"):
        list(read_rows(path, ["x"]))


def test_a_column_that_is_not_there_names_those_that_are(tmp_path: Path):
    path = write(tmp_path / "a.tsv", "index|sentence_1|sentence2", "0|a|b")
    message = (
        r"a\.tsv:1: expected a column 'sentence1', found .*'sentence2'; nearest is 'sentence_1'"
    )
    with pytest.raises(DataError, match=message):
        list(read_rows(path, ["index", "sentence1"]))


def test_absent_and_empty_files_and_folders(tmp_path: Path):
    (tmp_path / "empty.tsv").write_bytes(b"")
    for name, found in (("none.tsv", "found none"), ("empty.tsv", "empty file"), (".", "none")):
        with pytest.raises(DataError, match=found):
            list(read_rows(tmp_path / name, ["x"]))
