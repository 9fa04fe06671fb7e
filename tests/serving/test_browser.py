"""The page in Chromium, as a person at a desk and with a phone has it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.serving.served import put, with_observed

CHROMIUM = Path("/usr/bin/chromium")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server over a forecast with members on the Dutch radar's grid."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs pip install 'memel-nowcast[serve]'")
    from nowcast.serving.app import application

    out = tmp_path_factory.mktemp("served")
    put(out, with_observed(height=300, width=300, members=3))
    config = uvicorn.Config(application(out, rate=1e6), port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install it")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.mark.parametrize("kind", SIZES)
def test_the_page_plays_scrubs_and_answers_for_a_place(address: str, browser: Any, kind: str):
    from playwright.sync_api import expect

    width, height = SIZES[kind]
    page = browser.new_page(viewport={"width": width, "height": height})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("#scrub[max='4']")  # a script to wait for would need unsafe-eval
    assert "observed +0 min" in page.inner_text("#time")
    assert "too old" in page.inner_text("#status")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert "forecast +10 min" in page.inner_text("#time")
    page.keyboard.press(" ")
    expect(page.locator("#time")).to_contain_text("+15 min")
    page.keyboard.press(" ")
    page.fill("#lat", "55.0")
    page.fill("#lon", "1.5")
    page.press("#lon", "Enter")
    page.wait_for_selector("#series svg")
    assert page.inner_text("#place").startswith("55.0")
    assert page.locator("#numbers tbody tr").count() == 5
    place = page.inner_text("#place")
    page.click("#map", position={"x": 150, "y": 150})
    expect(page.locator("#place")).not_to_have_text(place)
    place = page.inner_text("#place")
    page.focus("#map")
    page.keyboard.press("d")
    expect(page.locator("#place")).not_to_have_text(place)
    page.select_option("#layer", "p2")
    page.wait_for_selector("#scrub[max='2']")
    page.fill("#lat", "0")
    page.press("#lat", "Enter")
    expect(page.locator("#place")).to_contain_text("expected")
    # What does not fit makes a phone scroll sideways.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(
        "(() => { const c = document.getElementById('frame'); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; return new Set(d).size > 5; })()"
    )
    # The answer 404 to a place outside is Chromium's own line, and no fault of the page.
    assert [text for text in said if "status of 404" not in text] == []
    assert asked and all(url.startswith(address) for url in asked)
    page.close()


def test_two_hundred_points_at_once_are_all_answered(address: str):
    import httpx2

    def ask(number: int) -> int:
        row, column = divmod(number, 15)
        found = httpx2.get(f"{address}/point?row={row}&column={column}", timeout=60)
        return int(found.status_code)

    with ThreadPoolExecutor(200) as pool:
        assert set(pool.map(ask, range(200))) == {200}
