"""The unit and the Containerfile in docs/service.md are what systemd and a builder read."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from nowcast.cli.app import app
from tests import ROOT
from tests.docs.pages import blocks

PAGE = ROOT / "docs" / "service.md"


def block(word: str) -> str:
    (found,) = (each.text for each in blocks(PAGE) if word in each.title)
    return found


def options_of(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def known_options() -> set[str]:
    watch = typer.main.get_command(app).commands["watch"]
    return {name for parameter in watch.params for name in parameter.opts}


def test_systemd_reads_the_unit(tmp_path: Path):
    unit = block("a unit of systemd")
    command = shlex.split(re.search(r"(?m)^ExecStart=(.*)$", unit)[1])
    assert command[1] == "watch" and options_of(command) <= known_options()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    file = tmp_path / "nowcast.service"
    file.write_text(unit.replace(command[0], sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False
    )
    own = [line for line in done.stderr.splitlines() if "nowcast.service" in line]
    assert (done.returncode, own) == (0, [])


def test_a_builder_reads_the_container_file(tmp_path: Path):
    text = block("a Containerfile")
    for name in ("ENTRYPOINT", "CMD"):
        words = json.loads(re.search(rf"(?m)^{name} (\[.*\])$", text)[1])
        assert options_of(words) <= known_options()
    if shutil.which("hadolint") is None:
        pytest.skip("no hadolint here")
    file = tmp_path / "Containerfile"
    file.write_text(text)
    done = subprocess.run(["hadolint", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
