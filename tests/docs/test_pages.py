"""The documentation stays true: every code block runs or says why not, every name is there."""

import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.docs.pages import SLOW, blocks, commands, run, workspace
from tests.imagenet.tiny_swin import write_colours

DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).as_posix(): path
    for path in sorted(DOCS.rglob("*.md"))
    if "decisions" not in path.parts  # of their date
}
COMMANDS = [
    name
    for name, path in PAGES.items()
    if any(b.language == "bash" and b.is_run for b in blocks(path))
]
SNIPPETS = [
    pytest.param(block.text, id=f"{name}-{number}")
    for name, path in PAGES.items()
    for number, block in enumerate(blocks(path))
    if block.language == "python" and block.is_run
]
LONG = [
    pytest.param(block.text, id=name)
    for name, path in PAGES.items()
    for block in blocks(path)
    if block.title.startswith(SLOW)
]


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


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("page", COMMANDS)
def test_its_commands_run_in_their_order(
    page: str,
    first_run: Path,
    synthetic: Path,
    words: Path,
    bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    workspace(tmp_path, dwd=synthetic, glue=words)
    (tmp_path / "bert-base-uncased").symlink_to(bert)  # stands for Hugging Face's, narrower
    write_colours(tmp_path / "data" / "images")
    ran = [
        words
        for b in blocks(PAGES[page])
        if b.language == "bash" and b.is_run
        for words in commands(b)
    ]
    if "--run runs/first" not in PAGES[page].read_text(encoding="utf-8"):
        shutil.copytree(first_run, tmp_path / "runs" / "first")
    for words in ran:
        run(words, monkeypatch)


@pytest.mark.filterwarnings("ignore:'pin_memory'")  # of a Trainer where there is no GPU
@pytest.mark.parametrize("code", SNIPPETS)
def test_its_python_runs(
    code: str, synthetic: Path, first_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for package in ("transformers", "pysteps", "accelerate"):
        if package in code or (package == "accelerate" and "transformers" in code):
            pytest.importorskip(package, reason=f"the block needs {package}")
    monkeypatch.chdir(tmp_path)
    workspace(tmp_path, dwd=synthetic)
    shutil.copytree(first_run, tmp_path / "runs" / "first")
    exec(compile(code, "page", "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("code", LONG)
def test_its_long_blocks_run(code: str, tmp_path: Path):
    workspace(tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-euc", code], cwd=tmp_path, env=environment, check=True)


@pytest.mark.parametrize("page", PAGES)
def test_its_paths_and_names_exist(page: str):
    text = PAGES[page].read_text(encoding="utf-8")
    for path in re.findall(r"`((?:nowcast|configs|scripts|hko_data|tests)/[\w./*-]*)`", text):
        assert list(ROOT.glob(path)) or (ROOT / path).exists(), path
    for name in re.findall(r"`(nowcast\.(?:core|precipitation|pysteps)[\w.]*)", text):
        pkgutil.resolve_name(name)
    assert "shared/" not in text


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
