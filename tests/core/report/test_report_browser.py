"""The page in a real browser: offline, on a desktop, on a phone, and without JavaScript."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nowcast.core.report.forest import Forest, ForestRow
from nowcast.core.report.page import Report, Section, Verdicts, write_report
from nowcast.core.report.player import Film, Reel, Scale
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Column, Row, Table
from tests.core.report.test_report import REPORT, TABLE

CHROMIUM = Path("/usr/bin/chromium")
LEADS = 6
SIDES = ("better", "worse")
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install it")
    if not CHROMIUM.is_file():
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything on it; frame n of a film is n shades bright."""
    names = ["last frame", "Plain", "Plain+", "A-Variant-With-A-Long-Name"]
    frames = np.zeros((LEADS, 60, 80, 3), np.uint8)
    frames[...] = 40 * np.arange(LEADS, dtype=np.uint8)[:, None, None, None]
    film = Film.of(
        Reel(
            caption="init 12:00 UTC",
            labels=[f"+{5 * lead} min, 12:{5 * lead:02} UTC" for lead in range(1, LEADS + 1)],
            truth=frames,
            forecasts=dict.fromkeys(names, frames),
            differences=dict.fromkeys(names, frames),
            scale=Scale("mm/h", [(f"{n}", (n, n, n)) for n in range(0, 220, 20)]),
            difference_scale=Scale("less truth, mm/h", [(f"{n:+}", (n, 0, 0)) for n in range(11)]),
        )
    )
    header = [f"a wide column {n}" for n in range(12)]
    report = replace(
        REPORT,
        parents={"Plain": None, "Plain+": "Plain", "A-Variant-With-A-Long-Name": "Plain+"},
        edges={"A-Variant-With-A-Long-Name": "scored again with other settings, the run of"},
        verdicts=Verdicts(
            Section("Verdicts", header, [header], "How to read it."),
            [
                Forest(
                    "Error", [ForestRow("A-Variant-With-A-Long-Name against Plain", 1.0, {})], SIDES
                )
            ],
            [Section("One against other", header, [header], "A note.", ["A sentence."])],
        ),
        sections=[Section("Wide", header, [header], "A note.")],
        films=[film, film],
        configs={"Plain": {"lr": 1}, "Plain+": {"lr": 2, "path": "/long" * 40}},
        versions={"torch": "2"},
        origins={f"Plain/seed {n}": {"key": f"{n:064x}", "code": "c" * 64} for n in range(2)},
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, report)
    return path


def long_report() -> Report:
    """A leaderboard of seven scores and variants of long names, as wide letters as there are."""
    names = ["persistence", "W" * 40, "名前" * 20, "a name of several words with spaces in it"]
    headers = [f"CSI ≥ {level} mm/h" for level in (0.5, 2, 5, 10, 30)]
    columns = tuple(Column(h, h, "more", 3, perfect=1.0) for h in ("B-MSE", "B-MAE", *headers))
    values = {column.score: 0.123 for column in columns}
    rows = [Row(n, {s: Scores(values, {}, "", ()) for s in range(3)}) for n in names[1:]]
    cell = "-0.012\n(-0.123 to +0.123)\nnot distinguishable\np = 0.053 (0.018 uncorrected)"
    section = Section(
        "Against", ["Score", *names[:3]], [[c.title, *[cell] * 3] for c in columns], ""
    )
    return replace(
        REPORT,
        table=Table(columns, tuple(rows)),
        parents={names[1]: None, names[2]: names[1], names[3]: names[2]},
        histories={},
        sections=[section],
    )


@pytest.mark.parametrize("width", [1300, 390])
def test_tables_fit_a_screen_and_names_their_boxes(browser: Any, tmp_path: Path, width: int):
    path = tmp_path / "report.html"
    write_report(path, long_report())
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(path.as_uri())
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    if width == 1300:  # nothing to scroll for
        sizes = "boxes => boxes.map(box => [box.scrollWidth, box.clientWidth])"
        for within, shown in page.locator(".box").evaluate_all(sizes):
            assert within <= shown
    assert page.get_by_role("region", name="Variants").locator("tbody tr").count() == 3
    page.close()


class Opened:
    """A page that was opened without a network, with all that it complained of."""

    def __init__(self, browser: Any, file: Path, size: str = "desktop", **options: Any) -> None:
        self.context = browser.new_context(viewport=SIZES[size], offline=True, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.player = self.page.locator(".player").first

    def shade(self) -> int:
        """How bright the frame in the middle of the first window is, as a browser paints it."""
        import cv2

        png = self.player.locator(".window").first.screenshot()
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        return int(picture[picture.shape[0] // 2, picture.shape[1] // 2, 0])

    def shown(self) -> list[str]:
        captions = self.player.locator("figcaption").all()
        return [caption.inner_text() for caption in captions if caption.is_visible()]


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    page = Opened(browser, file)
    yield page
    page.context.close()
    assert page.complaints == []


def test_the_slider_changes_frame_and_label(opened: Opened):
    slider, output = opened.player.locator("input"), opened.player.locator("output")
    assert (opened.shade(), output.inner_text()) == (0, "+5 min, 12:05 UTC")
    slider.fill("3")
    assert (opened.shade(), output.inner_text()) == (120, "+20 min, 12:20 UTC")
    slider.fill(str(LEADS - 1))
    assert (opened.shade(), output.inner_text()) == (200, "+30 min, 12:30 UTC")


def test_arrow_keys_step_and_stop_at_the_ends(opened: Opened):
    opened.player.locator(".frames").focus()
    for key, shade in (
        *(("ArrowLeft", 0), ("ArrowRight", 40), ("ArrowRight", 80), ("ArrowLeft", 40)),
    ):
        opened.page.keyboard.press(key)
        assert opened.shade() == shade
    for _ in range(LEADS):
        opened.page.keyboard.press("ArrowRight")
    assert opened.shade() == 200


def test_play_advances_and_pause_stops(opened: Opened):
    button, slider = opened.player.locator("button"), opened.player.locator("input")
    button.click()
    assert button.get_attribute("aria-label") == "Pause"
    moved = "() => document.querySelector('.player input').valueAsNumber >= 2"
    opened.page.wait_for_function(moved)
    button.click()
    assert button.get_attribute("aria-label") == "Play"
    stopped = slider.input_value()
    opened.page.wait_for_timeout(600)
    assert slider.input_value() == stopped
    # The other player on the page has stood still.
    assert opened.page.locator(".player input").nth(1).input_value() == "0"


def test_forecaster_and_kind_choose_what_is_seen(opened: Opened):
    names = ["last frame", "Plain", "Plain+", "A-Variant-With-A-Long-Name"]
    assert opened.shown() == ["Truth", *names]
    assert not opened.player.get_by_text("less truth").is_visible()
    kind = opened.player.locator("select[name=kind]")
    kind.select_option("difference")
    assert opened.shown() == ["Truth", *(f"{name}, difference" for name in names)]
    assert opened.player.get_by_text("less truth").is_visible()
    opened.player.locator("select[name=forecaster]").select_option("Plain+")
    assert opened.shown() == ["Truth", "Plain+, difference"]
    kind.select_option("both")
    assert opened.shown() == ["Truth", "Plain+", "Plain+, difference"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scripts", [True, False])
def test_nothing_is_loaded_and_nothing_sticks_out(
    browser: Any, file: Path, size: str, scripts: bool
):
    found = Opened(browser, file, size, java_script_enabled=scripts)
    assert {url.partition(":")[0] for url in found.requests} <= {"file", "data"}
    widths = [
        box["x"] + box["width"]
        for part in ("h1", ".box", ".card", ".player", ".window", ".scale", "dl", "details")
        for one in found.page.locator(part).all()
        if (box := one.bounding_box()) is not None
    ]
    assert max(widths) <= SIZES[size]["width"]
    if scripts:
        root = "document.documentElement"
        assert found.page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    assert found.complaints == []
    found.context.close()


def test_without_javascript_tables_charts_and_strips_are_there(browser: Any, file: Path):
    found = Opened(browser, file, java_script_enabled=False)
    page = found.page
    assert page.locator(".charts svg").count() >= 4
    for row in TABLE.rows:
        assert page.get_by_role("rowheader", name=row.name, exact=True).first.is_visible()
    assert not page.locator(".controls").first.is_visible()
    assert page.get_by_text("From left to right: +5 min").first.is_visible()
    assert len(found.shown()) == 9
    strip = page.locator(".window img").first.bounding_box()
    assert strip["width"] == pytest.approx(LEADS * 80)
    assert strip["height"] == pytest.approx(60)
    found.context.close()
