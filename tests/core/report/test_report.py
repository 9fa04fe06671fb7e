"""The report is one file that shows everything it was given, safely and reproducibly."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from nowcast.core.report.page import Report, Section, write_report
from nowcast.core.report.player import Film, Reel, Scale
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import DASH, Column, Row, Table

COLUMNS = (
    Column("error", "Error", "less", 0, perfect=0.0),
    Column("hit/2", "Hit 2", "more", 3, perfect=1.0),
)
PICTURE = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (5, 7, 3)))[1].tobytes()
GIF = b"GIF89a and so on"


def scores(error: float, hit: float | None) -> Scores:
    curves = {
        "error": (0.5 * error, error, 1.5 * error),
        "hit/2": (hit, None, None if hit is None else hit / 2),
    }
    return Scores(
        {"error": error, "hit/2": hit}, curves, "minutes", (5.0, 10.0, 15.0), along="lead_time"
    )


def history(start: float) -> list[dict[str, Any]]:
    return [
        *({"step": step, "loss": start / step, "lr": 1e-4} for step in (1, 10, 20)),
        {"step": 10, "valid": {"error": 80.0, "hit/2": None}},
        {"step": 20, "valid": {"error": 70.0, "hit/2": 0.4}},
    ]


TABLE = Table(
    COLUMNS,
    (
        Row("last frame", {None: scores(90.0, None)}),
        Row("Plain", {0: scores(51.0, 0.311), 1: scores(57.0, 0.322)}),
        Row("Plain+", {0: scores(40.0, 0.413), 1: scores(43.0, 0.424)}),
    ),
)
REPORT = Report(
    title="A comparison",
    facts={"Archive": "an archive", "Credit": "https://example.org"},
    table=TABLE,
    parents={"Plain": None, "Plain+": "Plain"},
    histories={"Plain/seed 0": history(9), "Plain/seed 1": history(8), "Plain+/seed 0": history(2)},
    pictures={"the last hour": PICTURE},
    command="tensorboard --logdir runs",
)


class Page(HTMLParser):
    """Tags with their attributes, and the text a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.bold: list[str] = []
        self.text = ""
        self.html = html
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        data = data.replace("\u00a0", " ")
        self.text += data
        if self.lasttag == "b":
            self.bold.append(data)

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name))]


def written(folder: Path, report: Report) -> Page:
    write_report(folder / "report.html", report)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    page = written(tmp_path, REPORT)
    loaded = [link for name in ("src", "href", "xlink:href") for link in page.attributes(name)]
    assert loaded
    assert all(link.startswith(("data:", "#")) for link in loaded)
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert "@import" not in page.html
    assert all(inner.startswith("#") for inner in re.findall(r"url\(([^)]*)\)", page.html))
    assert page.html.count("://") == 1  # the credit, as text


def test_every_name_number_and_fact_is_shown(tmp_path: Path) -> None:
    page = written(tmp_path, REPORT)
    for row in TABLE.cells():
        for cell in row:
            assert cell.removesuffix(" *") in page.text
    for text in (*TABLE.header(), REPORT.title, *REPORT.facts.values(), REPORT.command):
        assert text in page.text
    assert "fine-tuned from Plain" in page.text
    assert "from scratch" in page.text
    assert "baseline, not trained" in page.text
    assert "sample standard deviation over 2 seeds" in page.text


def test_the_best_of_each_column_is_bold(tmp_path: Path) -> None:
    # less error, more hits: both are Plain+'s
    bold = written(tmp_path, REPORT).bold
    assert {"42 ± 2", "0.418 ± 0.008"} <= set(bold)
    assert not {"90", "54 ± 4", "0.316 ± 0.008"} & set(bold)


def test_the_best_of_a_section_is_bold_too(tmp_path: Path) -> None:
    section = Section("Further", ("A", "B"), (("one", "1 *"), ("two", "2 < 3")), "A note.")
    page = written(tmp_path, replace(REPORT, sections=(section,)))
    assert "1" in page.bold and "1 *" not in page.text
    assert "2 < 3" in page.text and "2 < 3" not in page.bold


def test_an_undefined_score_is_a_dash(tmp_path: Path) -> None:
    page = written(tmp_path, REPORT)
    assert f"<td>{DASH}</td>" in page.html
    assert "None" not in page.text
    assert "nan" not in re.findall(r"\w+", page.html)


def test_markup_in_words_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('&')</script> $x_"
    report = Report(
        title=evil,
        facts={evil: evil},
        table=Table(
            (Column("error", evil, "less", 0, perfect=0.0),), (Row(evil, {0: scores(3.0, 0.5)}),)
        ),
        parents={evil: None},
        histories={f"{evil}/seed 0": history(1)},
        pictures={evil: PICTURE},
        command=evil,
    )
    page = written(tmp_path, report)
    assert "<script" not in page.html
    assert evil in page.text
    assert evil in page.attributes("alt")


def test_pictures_are_within_the_page_as_they_are(tmp_path: Path) -> None:
    for picture, kind in ((PICTURE, "png"), (GIF, "gif")):
        page = written(tmp_path, replace(REPORT, pictures={"it": picture}))
        [uri] = page.attributes("src")
        assert base64.b64decode(uri.removeprefix(f"data:image/{kind};base64,")) == picture


def test_a_section_is_a_table_here_and_in_markdown(tmp_path: Path) -> None:
    section = Section("Pairs", ("A", "<B>"), (("one", "1 & 2"), ("two", "3")), "What it means.")
    page = written(tmp_path, replace(REPORT, sections=(section,)))
    assert "<h2>Pairs</h2>" in page.html and "<B>" not in page.html
    for text in ("<B>", "1 & 2", "What it means."):
        assert text in page.text
    assert section.markdown() == (
        "## Pairs\n\n| A | \\<B\\> |\n| --- | --- |\n| one | 1 & 2 |\n| two | 3 |\n\n"
        "What it means.\n"
    )


def test_one_seed_without_histories_and_pictures(tmp_path: Path) -> None:
    table = Table(
        COLUMNS, (Row("last frame", {None: scores(90.0, None)}), Row("P", {0: scores(5.0, 1.0)}))
    )
    report = replace(REPORT, table=table, parents={}, histories={}, pictures={})
    page = written(tmp_path, report)
    assert "±" not in page.text
    for heading in ("Training", "Pictures", "Forecasts", "Variants", "Versions"):
        assert f"<h2>{heading}" not in page.html
    assert "Scores over lead time (minutes)" in page.text


def test_baselines_alone_and_scores_without_an_axis(tmp_path: Path) -> None:
    flat = Row("guess", {None: Scores({"error": 3.0, "hit/2": 0.5}, {}, "", ())})
    report = replace(REPORT, table=Table(COLUMNS, (flat,)), parents={}, histories={}, pictures={})
    page = written(tmp_path, report)
    assert "±" not in page.text
    assert "<svg" not in page.html


def test_a_loss_that_is_not_a_number_is_a_gap(tmp_path: Path) -> None:
    rows = [{"step": step, "loss": loss} for step, loss in enumerate((9.0, float("nan"), None))]
    page = written(tmp_path, replace(REPORT, histories={"Plain/seed 0": rows}))
    assert "training loss" in page.attributes("aria-label")
    assert "nan" not in re.findall(r"\w+", page.html)


FILM = Film.of(
    Reel(
        caption="init <12:00>",
        labels=("+5 min", "+10 min"),
        truth=np.zeros((2, 4, 6, 3), np.uint8),
        forecasts={"Plain": np.full((2, 4, 6, 3), 100, np.uint8)},
        differences={"Plain": np.full((2, 4, 6, 3), 200, np.uint8)},
        scale=Scale("rain, mm/h", [("0", (250, 250, 250)), ("10", (1, 2, 3))]),
        difference_scale=Scale("less truth", [("-1", (4, 5, 6))]),
        note="Every second pixel.",
    )
)


def test_a_player_shows_every_view_and_scale_and_asks_for_nothing_from_elsewhere(tmp_path: Path):
    page = written(tmp_path, replace(REPORT, films=(FILM,), pictures={}))
    strips = page.attributes("src")
    assert strips == [f"data:image/png;base64,{view.png}" for view in FILM.views]
    for text in ("init <12:00>", "Truth", "Plain, difference", "rain, mm/h", "less truth"):
        assert text in page.text
    assert "Every second pixel." in page.text
    (labels,) = page.attributes("data-labels")
    assert json.loads(labels) == list(FILM.labels)
    assert {"rgb(1, 2, 3)", "rgb(4, 5, 6)"} <= set(re.findall(r"rgb\([^)]*\)", page.html))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert page.html.count("://") == 1  # the credit, as text


def test_what_cannot_be_chosen_is_no_control(tmp_path: Path):
    reel = Reel("x", ("a",), np.zeros((1, 2, 2, 3), np.uint8), {})
    page = written(tmp_path, replace(REPORT, films=(Film.of(reel),)))
    assert "select" not in {tag for tag, _ in page.tags}


def test_markup_in_a_film_is_escaped(tmp_path: Path):
    evil = "</script>\"'><b>&"
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    film = Film.of(Reel(evil, (evil,), frames, {evil: frames, "B": frames}, note=evil))
    page = written(tmp_path, replace(REPORT, films=(film,)))
    assert page.html.count("</script>") == 1
    assert json.loads(page.attributes("data-labels")[0]) == [evil]
    assert page.text.count(evil) >= 4


def test_variants_say_what_they_come_from(tmp_path: Path):
    edges = {"Plain+": "scored again, the run of"}
    page = written(tmp_path, replace(REPORT, edges=edges))
    assert "scored again, the run of Plain" in page.text


def test_configs_are_differences_and_the_first_one_whole(tmp_path: Path):
    configs = {
        "Plain": {"optim": {"lr": 0.01}, "memel": None},
        "Plain+": {"optim": {"lr": 0.01}, "memel": {"delta": 2.5}},
    }
    page = written(tmp_path, replace(REPORT, configs=configs))
    assert "memel.delta: 2.5" in page.text and "optim.lr:" not in page.text
    assert "optim:\n  lr: 0.01\nmemel: null\n" in page.text
    assert "details" in {tag for tag, _ in page.tags}


def test_versions_and_origins_are_shown_where_there_are_any(tmp_path: Path):
    origins = {"Plain/seed 0": {"code": "abc", "key": "k0"}, "Plain/seed 1": {"code": "abc"}}
    page = written(tmp_path, replace(REPORT, versions={"torch": "2.99"}, origins=origins))
    for text in ("2.99", "abc", "0: key k0", f"1: key {DASH}"):
        assert text in page.text
    assert page.text.count("abc") == 1
    alone = written(tmp_path, replace(REPORT, origins={"Plain/seed 0": {"code": "abc"}}))
    assert "abc" in alone.text and "code abc" not in alone.text


def test_no_temporary_file_is_left_and_a_failure_keeps_the_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = written(tmp_path, REPORT).html
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]

    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path / "report.html", replace(REPORT, title="A newer one"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == old


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    write_report(tmp_path / "one.html", REPORT)
    write_report(tmp_path / "two.html", REPORT)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
