"""What starting imports is told apart from what it does not, and failure is no fast start."""

import pytest

from nowcast.core.errors import ConfigError
from scripts.bench import start
from scripts.bench.paired import Pairs
from scripts.bench.start import Start, imported, measure, table


def test_both_starts_are_timed_and_import_nothing_late():
    rows = measure(pairs=2)
    assert [row.command for row in rows] == ["nowcast --help", 'python -c "import nowcast"']
    for row in rows:
        assert len(row.pairs.one) == len(row.pairs.other) == 2
        assert row.imported == ()
        assert row.document()["seconds"] == pytest.approx(sum(row.pairs.other) / 2)


def test_what_is_imported_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(start, "LATE", ("wave", "email", "cv2"))
    assert imported("-c", "import email.charset, wave as cv2") == ("wave", "email")


def test_a_start_that_fails_is_an_error():
    with pytest.raises(ConfigError, match=r"status 0, found 3"):
        imported("-c", "raise SystemExit(3)")


def test_table_has_a_line_a_command():
    pairs = Pairs((0.01, 0.01, 0.01), (0.25, 0.2, 0.3))
    lines = table([Start("one", pairs, ()), Start("two", pairs, ("cv2", "matplotlib"))])
    assert lines.splitlines()[-2:] == [
        "| `one` | 250 ms | 10 ms | none |",
        "| `two` | 250 ms | 10 ms | cv2, matplotlib |",
    ]
