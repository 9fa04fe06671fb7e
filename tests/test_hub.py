"""Weights at Hugging Face: its functions by their public signatures, over a local folder."""

import inspect
import shutil
from pathlib import Path

import pytest

import nowcast
from nowcast import hub
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.storage.runs import Run
from nowcast.core.storage.yaml_files import loads
from tests.tiny_runs import write_run

huggingface = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Repositories as folders OWNER/NAME or OWNER/NAME@REVISION."""
    root = tmp_path / "hub"

    def bound(name: str):
        return inspect.signature(getattr(huggingface, name)).bind

    binds = {name: bound(name) for name in ("snapshot_download", "create_repo", "upload_folder")}

    def folder(arguments) -> Path:
        revision = arguments.get("revision")
        return root / (arguments["repo_id"] + (f"@{revision}" if revision else ""))

    def snapshot_download(*args, **kwargs) -> str:
        path = folder(binds["snapshot_download"](*args, **kwargs).arguments)
        if not path.is_dir():
            raise huggingface.errors.LocalEntryNotFoundError("no such snapshot\nmore")
        return str(path)

    def create_repo(*args, **kwargs) -> None:
        (root / binds["create_repo"](*args, **kwargs).arguments["repo_id"]).mkdir(parents=True)

    def upload_folder(*args, **kwargs) -> str:
        arguments = binds["upload_folder"](*args, **kwargs).arguments
        if arguments["repo_id"].startswith("other/"):
            raise huggingface.errors.LocalTokenNotFoundError("no token")
        shutil.copytree(arguments["folder_path"], folder(arguments), dirs_exist_ok=True)
        return f"https://hub/{arguments['repo_id']}"

    for function in (snapshot_download, create_repo, upload_folder):
        monkeypatch.setattr(huggingface, function.__name__, function)
    return root


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_what_is_pushed_is_loaded_with_the_same_weights(server: Path, run_folder: Path):
    forecaster = nowcast.load(run_folder)
    assert forecaster.push("hf://me/tiny", licence="mit") == "https://hub/me/tiny"
    there = server / "me" / "tiny"
    assert {path.name for path in there.iterdir()} == {"config.yaml", "best.safetensors", hub.CARD}
    card = (there / hub.CARD).read_text()
    head = loads(card.split("---\n")[1])
    assert head["library_name"] == "nowcast" and head["license"] == "mit"
    assert 'nowcast.load("hf://me/tiny")' in card
    again = nowcast.load("hf://me/tiny")
    assert again.name == "hf://me/tiny" and again.settings == forecaster.settings
    for name, tensor in forecaster.module.state_dict().items():
        assert again.module.state_dict()[name].equal(tensor)


def test_a_card_of_ones_own_and_a_revision_are_kept(server: Path, run_folder: Path):
    (run_folder / hub.CARD).write_text("# mine\n")
    hub.push(Run(run_folder), "hf://me/tiny@v1")
    assert (server / "me" / "tiny@v1" / hub.CARD).read_text() == "# mine\n"
    assert nowcast.load("hf://me/tiny@v1").run == Run(server / "me" / "tiny@v1")
    with pytest.raises(ConfigError, match=r"found no config\.yaml and no best\.safet"):
        nowcast.load("hf://me/tiny")  # whose main branch is empty


def test_commands_take_such_a_name(run, server: Path, run_folder: Path, synthetic: Path, tmp_path):
    nowcast.load(run_folder).push("hf://me/tiny")
    data = ("--data", synthetic, "data.stride=60")
    status, out, err = run("evaluate", "hf://me/tiny", *data)
    assert status == 0 and "hf://me/tiny" in out, err
    options = ("--weights", "hf://me/tiny", "--format", "h5", "--out", tmp_path / "out")
    status, out, err = run("forecast", synthetic, *options)
    assert status == 0 and "model     hf://me/tiny" in out, err


def test_mistakes_say_what_to_do(server: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match=r"expected hf://OWNER/NAME .*found 'hf://me'"):
        nowcast.load("hf://me")
    with pytest.raises(ConfigError, match=r"cannot be fetched .*\(no such snapshot\); check"):
        nowcast.load("hf://me/nothing")
    with pytest.raises(ConfigError, match=r"cannot be uploaded \(no token\); log in with"):
        hub.push(Run(run_folder), "hf://other/name")
    with pytest.raises(ConfigError, match="expected a trained forecaster, found the baseline flow"):
        nowcast.load("flow").push("hf://me/flow")
    (run_folder / "best.safetensors").unlink()
    with pytest.raises(RunError, match=r"expected best\.safetensors, found none"):
        hub.push(Run(run_folder), "hf://me/tiny")
    monkeypatch.setattr(hub, "import_module", lambda name: __import__("no_such_package"))
    with pytest.raises(ConfigError, match="expected the package huggingface_hub"):
        nowcast.load("hf://me/tiny")


def test_offline_only_the_cache_is_read(tmp_path: Path):
    """By the real library, in a process of its own, since it reads its settings at import."""
    import os
    import subprocess
    import sys

    cache = tmp_path / "hub" / "models--me--tiny"
    snapshot = cache / "snapshots" / ("a" * 40)
    write_run(snapshot)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("a" * 40)
    script = (
        "import nowcast\nprint(nowcast.load('hf://me/tiny').settings.data.in_len)\n"
        "try:\n    nowcast.load('hf://me/other')\n"
        "except nowcast.core.errors.ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second, *_ = done.stdout.splitlines()
    assert first == "4" and second.startswith("hf://me/other: cannot be fetched")
