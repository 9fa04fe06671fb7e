"""Configs by name: in a checkout, in a built package, on the command line and in the shell."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nowcast.api import config as configs
from nowcast.api.config_keys import keys_of, schema_of
from nowcast.api.shipped_configs import names, path_of
from nowcast.core.errors import ConfigError
from nowcast.core.settings import RunSettings
from nowcast.core.storage.yaml_files import loads
from nowcast.registry import TASKS, settings_class
from tests import ROOT

FILES = sorted((ROOT / "configs").rglob("*.yaml"))


def test_a_name_means_one_config():
    assert sorted(names().values()) == FILES and len(names()) == len(FILES)


def test_a_built_package_has_them_and_finds_its_own(tmp_path: Path):
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "configs", source / "configs")
    quiet = shutil.ignore_patterns("__pycache__", "*.so", "*.safetensors")
    shutil.copytree(ROOT / "nowcast", source / "nowcast", ignore=quiet)
    if (ROOT / "LICENSE").is_file():
        shutil.copy(ROOT / "LICENSE", source)
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(built)]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    script = "from nowcast.api.shipped_configs import names\nprint(*names().values(), sep='\\n')"
    environment = os.environ | {"PYTHONPATH": str(built)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [Path(line) for line in done.stdout.splitlines()]
    assert sorted(path.relative_to(built / "nowcast/configs") for path in found) == sorted(
        path.relative_to(ROOT / "configs") for path in FILES
    )


def test_a_path_is_a_path_and_a_name_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("smoke", "smoke.yaml"):
        Path(name).write_text("task: precipitation\n")
    assert path_of("smoke") == ROOT / "configs/precipitation/smoke.yaml"
    assert path_of("smoke.yaml") == Path("smoke.yaml") and path_of("./smoke") == Path("smoke")
    with pytest.raises(ConfigError, match=r"smok: expected a path .*; did you mean smoke\?"):
        path_of("smok")


def test_list_show_and_keys(run, tmp_path: Path):
    status, out, _ = run("config", "list")
    assert status == 0 and "Everybody's first run" in out
    assert all(f" {name} " in out for name in names())
    assert "Table 3 of Wang et al. 2024 on HKO-7" in out
    assert run("config", "show", "smoke")[1] == names()["smoke"].read_text()
    _, out, _ = run("config", "show", "demo", "train.steps=7")
    shown = loads(out)
    assert shown["train"]["steps"] == 7 and shown["optim"]["eps"] == 1e-8
    mine = tmp_path / "mine.yaml"
    mine.write_text(out)
    assert run("config", "show", mine, "--resolved")[1] == out
    status, out, _ = run("config", "keys", "--within", "memel")
    assert status == 0 and "memel.convention" in out and "paper | released" in out
    status, _, err = run("config", "keys", "--within", "mem")
    assert status == 2 and "expected one of task, train, optim, memel" in err
    assert run("config", "keys", "weather")[0] == 2


@pytest.mark.parametrize("task", TASKS)
def test_keys_are_those_that_a_config_takes(task: str):
    keys = {key.name: key for key in keys_of(task)}
    content: dict = {"task": task}
    for name in ("train.steps", "memel.delta", "optim.name"):
        content = configs.overridden(content, {name: loads(keys[name].default)})
    settings = configs.validate(settings_class(task), content, "c")
    assert isinstance(settings, RunSettings) and settings.memel is not None
    assert keys["train.epochs"].kind == "number | null"
    assert keys["train.batch_size"].meaning == "Over all ranks together."
    assert {"compare.seeds", "compare.variants.NAME.set", "tune.sampler"} <= keys.keys()


@pytest.mark.parametrize("task", TASKS)
def test_every_key_says_what_it_is(task: str):
    assert [key.name for key in keys_of(task) if not key.meaning] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_schema_accepts_every_config_and_no_other(path: Path):
    jsonschema = pytest.importorskip("jsonschema")
    content = json.loads(json.dumps(configs.read(path)))
    validator = jsonschema.Draft202012Validator(schema_of(content["task"]))
    assert [error.message for error in validator.iter_errors(content)] == []
    wrong = content | {"train": {"stesp": 3}}
    assert any("stesp" in error.message for error in validator.iter_errors(wrong))


def test_the_schema_is_written_with_descriptions(run, tmp_path: Path):
    status, _, err = run("config", "schema", "glue", "--out", tmp_path / "glue.schema.json")
    assert status == 0, err
    written = json.loads((tmp_path / "glue.schema.json").read_text())
    assert written == schema_of("glue") == json.loads(run("config", "schema", "glue")[1])
    assert written["$defs"]["TrainSettings"]["properties"]["batch_size"]["description"]


def test_the_shell_completes_names():
    environment = os.environ | {
        "_NOWCAST_COMPLETE": "complete_bash",
        "COMP_WORDS": "nowcast train smo",
        "COMP_CWORD": "2",
    }
    script = "import sys; sys.argv = ['nowcast']; from nowcast.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["smoke"], done.stderr
