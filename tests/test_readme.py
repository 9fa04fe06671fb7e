"""The README stays true: its commands and its Python run, its paths exist, its figures are ours."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from nowcast.cli.app import main
from tests import ROOT
from tests.imagenet.tiny_swin import write_colours

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.S)

# What makes the guide's long commands short enough for a test.
SHORTER = {
    "train": ["train.steps=4", "train.validate_every=2", "data.random_crop=[32,32]"],
    "tune": ["train.steps=4", "train.validate_every=2", "data.random_crop=[32,32]"],
    "evaluate": ["data.stride=30"],
    "export": ["--lead-frames", "2"],
    "compare": [
        "train.steps=4",
        "train.validate_every=2",
        "data.random_crop=[32,32]",
        "data.min_wet=0",
        "compare.seeds=[0]",
        "compare.variants={P-Original: {}, T-Original: {start_from: P-Original}}",
    ],
}

SHORTER_GLUE = ["train.epochs=0.5", "data.max_length=24"]
SHORTER_IMAGES = [
    "train.epochs=1",
    "train.batch_size=8",
    "train.workers=0",
    "train.precision=fp32",
    "data.size=32",
    "model.own={embed_dim: 8, depths: [1, 1, 4], num_heads: [1, 2, 2], window_size: 2}",
]


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def commands() -> list[list[str]]:
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("nowcast ")]


def test_the_two_commands_come_first():
    assert "bash scripts/demo.sh" in blocks("bash")[0]
    assert "bash scripts/test.sh" in blocks("bash")[0]


def task_of(arguments: list[str]) -> str:
    """Which part of the guide a command belongs to; the parts use nothing of each other."""
    text = " ".join(arguments)
    if re.search("glue|sst-2|submit", text):
        return "glue"
    return "imagenet" if re.search("image|swin", text) else "precipitation"


RAN = {
    "precipitation": {
        *("data check", "data pack", "data synth", "data info", "forecast", "export", "train"),
        *("evaluate", "compare", "tune", "report", "audit inhibition", "audit neurons"),
    },
    "glue": {"data glue", "train", "evaluate", "submit"},
    "imagenet": {"data images", "train", "evaluate", "audit inhibition"},
}


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize("task", RAN)
def test_the_guides_commands_run_in_its_order(
    synthetic: Path,
    words: Path,
    bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "bert-base-uncased").symlink_to(bert)  # stands for Hugging Face's, narrower
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dwd").symlink_to(synthetic)  # stands for the sample, smaller
    (tmp_path / "data" / "glue").symlink_to(words)
    write_colours(tmp_path / "data" / "images")
    ran = []
    for arguments in (mine for _, *mine in commands() if task_of(mine) == task):
        if arguments[:2] == ["data", "sample"]:
            continue  # test_sample.py runs it
        if arguments[0] == "board":
            continue  # serves until it is stopped; test_tensorboard.py runs it
        if arguments[:2] == ["data", "synth"]:
            arguments += ["--size", "32", "--step", "30"]
        if task == "precipitation":
            arguments += SHORTER.get(arguments[0], [])
        elif any(f"configs/{task}" in argument for argument in arguments):
            arguments += SHORTER_GLUE if task == "glue" else SHORTER_IMAGES
        monkeypatch.setattr(sys, "argv", ["nowcast", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code, arguments
        ran.append(" ".join(arguments[: 2 if arguments[0] in ("data", "audit") else 1]))
    assert set(ran) == RAN[task]


@pytest.mark.filterwarnings("ignore:'pin_memory'")  # of a Trainer where there is no GPU
@pytest.mark.parametrize("code", blocks("python"))
def test_its_python_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if "transformers" in code:
        pytest.importorskip("transformers", reason="the optional extra [transformers]")
        pytest.importorskip("accelerate", reason="the optional extra [transformers]")
    if "pysteps" in code:
        pytest.importorskip("pysteps", reason="the optional extra [pysteps]")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


def test_its_links_and_paths_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    paths = re.findall(r"`((?:nowcast|configs|scripts|hko_data|tests)/[\w./*]*)`", README)
    assert links and paths
    for path in {*links, *paths}:
        assert list(ROOT.glob(path)) or (ROOT / path).exists(), path


def test_it_speaks_of_the_project_alone():
    assert "shared/" not in README
