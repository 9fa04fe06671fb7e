"""`nowcast board`: what it writes appears in TensorBoard once, and in a real browser."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from nowcast.core.errors import ConfigError
from nowcast.core.monitoring.events import BOARD_FILE, EventLog
from nowcast.core.monitoring.tensorboard import prepare, runs_below, variant_of
from nowcast.core.settings import MEmeLSettings, OptimSettings, RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.storage.yaml_files import dumps
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.trainer import train
from tests.core.toy import ToyTask

CHROMIUM = Path("/usr/bin/chromium")


def settings(seed: int, memel: MEmeLSettings | None) -> RunSettings:
    return RunSettings(
        task="toy",
        train=TrainSettings(steps=20, batch_size=8, validate_every=5, log_every=5, seed=seed),
        optim=OptimSettings(lr=0.02),
        memel=memel,
    )


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three finished runs and one that has begun."""
    out = tmp_path_factory.mktemp("comparison")
    inhibits = MEmeLSettings(late_start=3, forget_steps=5)
    for name, seed, memel in (("plain", 0, None), ("plain", 1, None), ("memel", 0, inhibits)):
        chosen = settings(seed, memel)
        run = Run(out / "runs" / name / f"seed{seed}")
        train(ToyTask(chosen), chosen, run, Ranks())
    begun = Run(out / "runs" / "memel" / "seed1")
    begun.folder.mkdir()
    begun.config_file.write_text(dumps(settings(1, inhibits).model_dump(mode="json")))
    log = EventLog(begun.folder, 0)
    log.scalars(5, {"train/loss": 1.0})
    log.close()
    return out


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of `nowcast board`, which ends with the block."""
    command = [sys.executable, "-m", "nowcast", "board", str(folder), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if found is None:
            process.kill()
            pytest.fail(f"no address in {line!r}: {process.communicate()[1]}")
        yield found[0]
    finally:
        process.terminate()
        process.communicate()


def asked(address: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(address, data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def address(comparison: Path) -> Iterator[str]:
    prepare(comparison / "runs")  # as from earlier calls elsewhere
    prepare(comparison / "runs" / "plain" / "seed0")
    prepare(comparison)
    with served(comparison) as address:
        yield address


def test_each_run_is_listed_once_and_keeps_its_events(address: str, comparison: Path):
    tags = asked(f"{address}data/plugin/scalars/tags")
    names = ["memel/seed0", "memel/seed1", "plain/seed0", "plain/seed1"]
    assert set(tags) == set(names)  # and no run called tensorboard
    assert {"train/loss", "valid/error", "valid_best/error"} <= set(tags["plain/seed0"])
    query = "data/plugin/scalars/scalars?run=plain/seed0&tag=train/loss"
    points = asked(f"{address}{query}")
    assert [step for _, step, _ in points] == [5, 10, 15, 20]
    written = [path.relative_to(comparison).as_posix() for path in comparison.rglob(BOARD_FILE)]
    assert sorted(written) == [f"runs/{name}/{BOARD_FILE}" for name in names]


def test_the_table_has_a_line_a_run_with_what_differs_and_what_came_out(
    address: str, comparison: Path
):
    body = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_SUCCESS", "STATUS_UNKNOWN"],
        "colParams": [],
        "startIndex": 0,
        "sliceSize": 10,
    }
    groups = asked(f"{address}data/plugin/hparams/session_groups", body)["sessionGroups"]
    lines = {group["name"]: group for group in groups}
    assert len(lines) == len(groups) == 4
    assert lines["memel/seed0"]["hparams"] == {
        "variant": "memel",
        "train.seed": 0.0,
        "memel": "on",
    }
    assert lines["plain/seed1"]["hparams"] == {
        "variant": "plain",
        "train.seed": 1.0,
        "memel": "off",
    }
    assert lines["memel/seed1"]["sessions"][0]["status"] == "STATUS_UNKNOWN"
    metrics = {m["name"]["tag"]: m["value"] for m in lines["plain/seed1"]["metricValues"]}
    best = Run(comparison / "runs" / "plain" / "seed1").result()
    assert metrics["valid_best/step"] == best["best_step"]
    assert metrics["valid_best/error"] == pytest.approx(best["best_objective"], rel=1e-6)


def test_the_layout_has_each_chart_once(address: str):
    layout = asked(f"{address}data/plugin/custom_scalars/layout")
    titles = {c["title"]: [chart["title"] for chart in c["chart"]] for c in layout["category"]}
    assert titles["scores"] == ["error", "error by place"]
    assert titles["training"][:3] == ["training loss", "validation loss", "lr"]
    assert "mean_phi" in titles["memel"]
    assert len(titles["memel"]) == len(set(titles["memel"]))


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """TensorBoard in a headless browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    if not CHROMIUM.is_file():
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 1600, "height": 1100})
        page.set_default_timeout(20_000)
        yield page
        browser.close()


def test_a_browser_shows_time_series_charts_table_and_pictures(page: Any, address: str):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}#timeseries")
    page.get_by_role("combobox", name="Filter tags (regex)").fill("train/loss")
    page.get_by_text("train/loss").first.wait_for()
    page.get_by_text("memel/seed0").first.wait_for()
    for tab, texts in {
        "Custom Scalars": ("training", "training loss", "validation loss", "error by place"),
        "HParams": ("Trial ID", "train.seed", "valid_best/error", "plain/seed1", "variant"),
        "Images": ("forecast/a square",),
    }.items():
        page.get_by_role("tab", name=tab).click()
        for text in texts:
            page.get_by_text(text, exact=True).filter(visible=True).first.wait_for()
    picture = page.locator("img").filter(visible=True).first
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [6, 4]
    assert errors == []


def test_one_run_is_a_board_too_and_has_its_name(comparison: Path, tmp_path: Path):
    folder = comparison / "runs" / "plain" / "seed0"
    assert list(runs_below(folder)) == ["plain/seed0"]
    assert list(runs_below(folder.parent)) == ["plain/seed0", "plain/seed1"]
    odd = tmp_path / "a,b:c"
    shutil.copytree(folder, odd)
    assert list(runs_below(odd)) == ["a,b:c"]
    with served(odd) as address:
        assert list(asked(f"{address}data/plugin/scalars/tags")) == ["a,b:c"]


def test_searches_beside_the_runs_keep_the_whole_path(comparison: Path, tmp_path: Path):
    for name in ("runs/plain/seed0", "tune/plain/one"):
        shutil.copytree(comparison / "runs" / "plain" / "seed0", tmp_path / name)
    assert list(runs_below(tmp_path)) == ["runs/plain/seed0", "tune/plain/one"]
    assert [variant_of(run) for run in runs_below(tmp_path).values()] == ["plain", "one"]


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_runs_is_told(tmp_path: Path, made: bool):
    folder = tmp_path / "nothing"
    if made:
        folder.mkdir()
    with pytest.raises(ConfigError, match="expected runs with event files, found none; give the"):
        prepare(folder)


def test_a_port_in_use_is_told(address: str, comparison: Path):
    port = re.findall(r"\d+", address)[-1]
    command = [sys.executable, "-m", "nowcast", "board", str(comparison), "--port", port]
    done = subprocess.run([*command, "--host", "127.0.0.1"], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"--port {port}" in done.stderr
    assert "--port 0 takes a free one" in done.stderr
    assert "Traceback" not in done.stderr
