"""Pages of the documentation as a reader uses them: code blocks in order, run where they can."""

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nowcast.cli.app import main
from tests import ROOT

# A title says why a block is not run.
BLOCK = re.compile(r'^```(\w+)(?: title="(.*?)")?\n(.*?)^```$', flags=re.S | re.M)
NOT_RUN = "not run by the tests: "

# What makes a page's commands short enough for a test.
TINY = ["train.steps=4", "train.validate_every=2", "data.random_crop=[32,32]"]
SHORTER = {
    "train": TINY,
    "tune": TINY,
    "evaluate": ["data.stride=30"],
    "export": ["--lead-frames", "2"],
    "compare": [
        *TINY,
        *("data.min_wet=0", "compare.seeds=[0]"),
        "compare.variants={P-Original: {}, T-Original: {start_from: P-Original}}",
    ],
}
SHORTER_GLUE = ["train.epochs=0.5", "data.max_length=24"]
SHORTER_IMAGES = [
    *("train.epochs=1", "train.batch_size=8", "train.workers=0", "train.precision=fp32"),
    *(
        "data.size=32",
        "model.own={embed_dim: 8, depths: [1, 1, 4], num_heads: [1, 2, 2], window_size: 2}",
    ),
]


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    title: str
    text: str

    @property
    def is_run(self) -> bool:
        """False where its title says why not."""
        return not self.title.startswith(NOT_RUN)


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a bash block, a list of words each."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def shortened(words: list[str]) -> list[str]:
    """A command of `nowcast` as it runs in seconds, on the archives of the tests."""
    arguments = words[1:]
    text = " ".join(arguments)
    if "--at" in arguments:  # the tests' archive is of other days
        position = arguments.index("--at")
        del arguments[position : position + 2]
    if arguments[0] == "audit":  # it has fewer clips, too
        own = [word for word in arguments if not word.startswith("data.stride")]
        return ["train" if word == "valid" else word for word in own]
    if arguments[:2] == ["data", "synth"]:
        return [*arguments, "--size", "32", "--step", "30"]
    if "configs/glue" in text:
        return arguments + SHORTER_GLUE
    if "configs/imagenet" in text:
        return arguments + SHORTER_IMAGES
    if re.search("glue|sst-2|submit|image|swin", text):
        return arguments
    added = [] if "data.stride" in text else SHORTER.get(arguments[0], [])
    return arguments + added


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command of `nowcast` in this process, shortened; it must end with status 0."""
    if words[1:3] == ["data", "sample"]:
        return  # test_sample.py runs it
    monkeypatch.setattr(sys, "argv", ["nowcast", *shortened(words)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code, words


def workspace(folder: Path, **data: Path) -> None:
    """A folder as the pages take for granted: configs, and archives below data/."""
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "data").mkdir()
    for name, source in data.items():
        (folder / "data" / name).symlink_to(source)
