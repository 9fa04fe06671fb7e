"""What starting imports is told apart from what it does not, and failure is no fast start."""

import pytest

from nowcast.core.errors import ConfigError
from scripts.bench import start
from scripts.bench.benchmark import Asked
from scripts.bench.start import imported, measure


def test_both_starts_are_timed_and_import_nothing_late():
    rows = measure(Asked(pairs=2))
    assert [row["command"] for row in rows] == ["nowcast --help", 'python -c "import nowcast"']
    for row in rows:
        assert len(row["empty"]) == len(row["seconds"]) == 2
        assert row["imports"] == ()
    assert start.BENCHMARK.table(rows).splitlines()[-1].endswith("| none |")


def test_what_is_imported_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(start, "LATE", ("wave", "email", "cv2"))
    assert imported("-c", "import email.charset, wave as cv2") == ("wave", "email")


def test_a_start_that_fails_is_an_error():
    with pytest.raises(ConfigError, match=r"status 0, found 3"):
        imported("-c", "raise SystemExit(3)")
