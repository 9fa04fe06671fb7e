"""The documentation stays true: every code block runs or says why not, every name is there."""

import pkgutil
import re
import shutil
import sys
from pathlib import Path

import pytest

from nowcast.cli.app import main
from scripts.gallery.__main__ import make
from tests import ROOT
from tests.docs.pages import blocks, commands, run, workspace
from tests.imagenet.tiny_swin import write_colours

DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).as_posix(): path
    for path in sorted(DOCS.rglob("*.md"))
    if "decisions" not in path.parts  # of their date
}
LONG = ("train.md", "operate.md")  # comparisons, and an export
RUN = [name for name, path in PAGES.items() if any(block.is_run for block in blocks(path))]


@pytest.mark.parametrize("page", PAGES)
def test_a_block_is_run_or_says_why_not(page: str):
    text = PAGES[page].read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, flags=re.M)) == 2 * len(blocks(PAGES[page]))
    for block in blocks(PAGES[page]):
        assert block.language in ("bash", "python", "text", "yaml")
        assert block.is_run or block.title.partition(": ")[2]
        if block.language == "bash" and block.is_run:
            assert all(words[0] == "nowcast" for words in commands(block))


@pytest.fixture(scope="module")
def first_run(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What several pages call runs/first."""
    folder = tmp_path_factory.mktemp("first")
    smoke = f"{ROOT}/configs/precipitation/smoke.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(["nowcast", "train", smoke, f"data.root={synthetic}", "--run", "first"], patch)
    return folder / "first"


# The tests' radar is another than the weights were trained on, and a warning says so.
@pytest.mark.filterwarnings("ignore::nowcast.core.terminal.result_warnings.ResultWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning:pysteps")  # no event: CSI is NaN
@pytest.mark.filterwarnings("ignore:'pin_memory'")  # of a Trainer where there is no GPU
@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize(
    "page",
    [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in RUN],
)
def test_its_blocks_run_in_their_order(
    page: str,
    first_run: Path,
    synthetic: Path,
    words: Path,
    bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    text = PAGES[page].read_text(encoding="utf-8")
    for package in ("transformers", "pysteps"):
        if f"import {package}" in text or f"from {package}" in text:
            pytest.importorskip(package, reason=f"the page needs {package}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    workspace(tmp_path, dwd=synthetic, glue=words)
    (tmp_path / "bert-base-uncased").symlink_to(bert)  # stands for Hugging Face's, narrower
    write_colours(tmp_path / "data" / "images")
    folders = ["runs/first"] if "--run runs/first" not in text else []
    folders += [f"runs/demo/runs/{name}/seed0" for name in ("P-Original", "P-MEmeL")]
    for folder in folders if "--out runs/demo" not in text else folders[:-2]:
        shutil.copytree(first_run, tmp_path / folder)
    for block in blocks(PAGES[page]):
        if block.language == "bash" and block.is_run:
            for command in commands(block):
                run(command, monkeypatch)
        if block.language == "python" and block.is_run:
            exec(compile(block.text, page, "exec"), {})


@pytest.mark.slow
def test_the_gallery_is_what_its_code_makes(
    few_resamples: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With networks of a few steps: the same pages with the same pictures, other numbers."""
    pytest.importorskip("pysteps", reason="a page of the gallery needs pysteps")
    workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nowcast", "data", "sample", "data/dwd"])
    with pytest.raises(SystemExit):
        main()
    short = ["compare.seeds=[0]", "train.steps=4", "train.validate_every=4", "data.stride=96"]
    demo = ["configs/precipitation/demo.yaml", "data.root=data/dwd", "--out", "runs/demo"]
    monkeypatch.setattr(sys, "argv", ["nowcast", "compare", *demo, *short])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    made = tmp_path / "gallery"
    make(tmp_path / "data" / "dwd", tmp_path / "runs" / "demo", made)
    kept = DOCS / "gallery"
    assert {path.name for path in made.iterdir()} == {path.name for path in kept.iterdir()}
    for path in kept.glob("*.md"):
        own, other = (
            re.sub(r"(?m)^\|.*\n|^- .*\n|^```text[^`]*```", "", page.read_text("utf-8"))
            for page in (path, made / path.name)
        )
        assert own == other, path.name


@pytest.mark.parametrize("page", PAGES)
def test_its_paths_and_names_exist(page: str):
    text = PAGES[page].read_text(encoding="utf-8")
    for path in re.findall(r"`((?:nowcast|configs|scripts|hko_data|tests)/[\w./*-]*)`", text):
        assert list(ROOT.glob(path)) or (ROOT / path).exists(), path
    for name in re.findall(r"`(nowcast\.(?:core|precipitation|pysteps)[\w.]*)", text):
        pkgutil.resolve_name(name)
    assert "shared/" not in text


def test_a_picture_is_small_and_on_its_page():
    shown = "".join(path.read_text(encoding="utf-8") for path in PAGES.values())
    pictures = list((DOCS / "gallery").glob("*.png"))
    assert len(pictures) >= 6
    for picture in pictures:
        assert picture.stat().st_size <= 150_000 and f"({picture.name})" in shown


def test_what_newcomers_look_for_is_in_the_pages():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES.values())
    for wanted in (
        "memel=null",
        "neuron_dims=(1,)",
        "**10 frames**",
        "MiniLM by hand",
        "data convert",
    ):
        assert wanted in text


def test_the_config_page_has_every_key():
    from docs.hooks import config_keys

    page = config_keys()
    assert "`memel.delta`" in page and "`data.in_len`" in page and "## glue" in page
