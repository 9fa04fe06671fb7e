"""What cannot be written is one message and an exit status, whatever the command and the reason."""

import contextlib
import errno
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from nowcast.cli.app import main
from nowcast.core.errors import OutputError
from nowcast.core.storage import files, yaml_files
from nowcast.core.storage.files import (
    check_folder,
    check_place,
    mendable,
    write_json,
    write_whole,
    writing,
)
from tests import ROOT

SMOKE = str(ROOT / "configs" / "precipitation" / "smoke.yaml")
CLIPS = "data.in_len=2 data.out_len=2 data.stride=40"
STEPS = "train.steps=2 train.validate_every=2 train.log_every=2"
SHORT = f"data.root=ROOT {STEPS} {CLIPS} data.random_crop=[32,32]"

Run = Callable[..., tuple[int, str, str]]

# Each with ROOT for an archive, HERE for a folder of inputs, OUT for the place that is refused.
COMMANDS = {
    "forecast": "forecast ROOT --weights persistence --out OUT/forecast",
    "forecast-nc": "forecast ROOT --weights persistence --out OUT/forecast --format nc",
    "forecast-h5": "forecast ROOT --weights persistence --out OUT/forecast --format h5",
    "forecast-gif": "forecast ROOT --weights persistence --out OUT/forecast --format gif",
    "check": "data check ROOT --json OUT/check.json",
    "quarantine": "data check ROOT --quarantine OUT/quarantine.csv",
    "synth": "data synth OUT/made --days 3 --size 16 --step 60",
    "convert": "data convert HERE/s.npy OUT/made --importer stack --times HERE/t.npy --unit mm_h",
    "pack": "data pack ROOT OUT/packed.h5 --workers 1",
    "days": "data days HERE/nolists --threshold-mm 0 --out OUT/lists",
    "masks": "data masks ROOT --check --picture OUT/masks.png",
    "evaluate": f"evaluate persistence --data ROOT --json OUT/scores.json {CLIPS}",
    "leaderboard": f"evaluate persistence --data ROOT --out OUT/board {CLIPS}",
    "train": f"train {SMOKE} {SHORT} --run OUT/run",
    "tune": f"tune {SMOKE} {SHORT} --out OUT/tuned TUNE",
    "compare": f"compare HERE/c.yaml {SHORT} --out OUT/compared",
    "combine": "combine HERE/one HERE/two --out OUT/combined",
    "export": "export HERE/run OUT/made.pt2",
}
REFUSED = ("cannot be written (", "cannot be used (", "of free disk for checkpoints")


def arguments(command: str, root: Path, here: Path, out: Path) -> list[str]:
    """What to call main with; `here` is filled if need be."""
    text = COMMANDS[command].replace("TUNE", 'tune.space={"optim.lr":[1]}')
    return (
        text.replace("ROOT", str(root)).replace("HERE", str(here)).replace("OUT", str(out)).split()
    )


@pytest.fixture(scope="module")
def here(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs: a stack, an archive without lists, a config of a comparison, a run, comparisons."""
    folder = tmp_path_factory.mktemp("inputs")
    days = np.arange("2020-01-01", "2020-01-19", 3, dtype="datetime64[D]").astype("datetime64[m]")
    np.save(folder / "s.npy", np.random.default_rng(0).gamma(1, 1, (12, 16, 16)))
    np.save(folder / "t.npy", np.concatenate([days, days + 10]))
    np.save(folder / "t.npy", np.sort(np.load(folder / "t.npy")))
    config = yaml_files.loads(Path(SMOKE).read_text())
    config["compare"] = {"seeds": [0], "baselines": ["persistence"], "variants": {"P": {}}}
    (folder / "c.yaml").write_text(yaml_files.dumps(config))
    for command in ("convert", "train", "compare"):
        made = arguments(command, synthetic, folder, folder)
        assert status_of(made)[0] == 0
    (folder / "made").rename(folder / "nolists")
    for name in ("one", "two"):
        place = folder / name
        place.mkdir()
        for path in (folder / "compared").glob("*.*"):
            (place / path.name).write_bytes(path.read_bytes())
    return folder


def status_of(argv: list[str]) -> tuple[int, str]:
    """Exit status and stderr of a command; a traceback goes through."""
    said = io.StringIO()
    sys.argv = ["nowcast", *argv]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as stop:
        return int(stop.code or 0), said.getvalue()
    return 0, said.getvalue()


def last_message(err: str) -> str:
    """Of stderr; where several pieces of work failed, each has a line of its own."""
    return ("\n" + err).rpartition("\nnowcast: ")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_in_the_way_of_a_folder_is_one_message(
    command: str, run: Run, synthetic: Path, here: Path, tmp_path: Path
):
    blocking = tmp_path / "file"
    blocking.write_text("mine")
    status, _, err = run(*arguments(command, synthetic, here, blocking))
    message = last_message(err)
    assert status in (1, 2) and "Traceback" not in err
    assert any(text in message for text in REFUSED) and str(blocking) in message
    assert "; choose " in message or "goes on" in message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert blocking.read_text() == "mine"


DRIVER = """
import json, sys
from pathlib import Path
from tests.cli.test_unwritable import COMMANDS, arguments, status_of
root, here, out = (Path(text) for text in sys.argv[1:4])
print(json.dumps({name: status_of(arguments(name, root, here, out)) for name in COMMANDS}))
"""
# A mount of its own, which nothing outside sees.
FULL = 'mount -t tmpfs -o size=64k tmpfs "$3" && head -c 1M /dev/zero > "$3"/fill 2>/dev/null;'
READ_ONLY = 'mount -t tmpfs -o size=64k,ro tmpfs "$3" || exit 9;'


@pytest.mark.parametrize(
    ("mount", "reason"),
    [
        pytest.param(FULL, "No space left on device", id="full"),
        pytest.param(READ_ONLY, "Read-only file system", id="read-only", marks=pytest.mark.slow),
    ],
)
def test_a_full_or_read_only_disk_is_one_message(
    mount: str, reason: str, synthetic: Path, here: Path, tmp_path: Path
):
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount, which not even a namespace of its own gives here")
    script = f'{mount} exec "$0" -W error -c "$4" "$1" "$2" "$3"'
    out = tmp_path / "disk"
    out.mkdir()
    values = [sys.executable, str(synthetic), str(here), str(out), DRIVER]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, *values],
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name, (status, err) in found.items():
        message = last_message(err)
        assert status == 1 and reason in message and str(out) in message, name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_device_is_one_message(synthetic: Path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nowcast", "data", "info", str(synthetic)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    # On a busy machine a line says before it how long the work took.
    *progress, message = done.stderr.splitlines()
    assert message.startswith("nowcast: output cannot be written (No space left on device)")
    assert all(line.startswith("nowcast: looking through ") for line in progress)


def test_a_refused_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "scores.json"
    write_json(path, {"kept": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match=rf"{path}: cannot be written \(No space left.*make room"):
        write_json(path, {"kept": 2})
    assert json.loads(path.read_text()) == {"kept": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_can_be_written_and_a_longer_one_is_told(tmp_path: Path):
    write_json(tmp_path / ("n" * 255), 1)
    with pytest.raises(OutputError, match=r"File name too long.*choose a shorter name"):
        write_json(tmp_path / ("n" * 256), 1)


def test_what_a_library_says_of_a_full_disk_is_put_into_words(tmp_path: Path):
    text = "Unable to create file (file write failed: errno = 28, error message = 'No space left')"
    with pytest.raises(OutputError, match=r"x: cannot be written \(No space left on device\)"):
        write_whole(
            tmp_path / "x", lambda _: (_ for _ in ()).throw(RuntimeError(text)), RuntimeError
        )
    with pytest.raises(RuntimeError, match="a fault of ours"), writing(tmp_path / "x"):
        raise RuntimeError("a fault of ours")


def test_an_output_error_travels_between_processes_whole():
    error = pickle.loads(pickle.dumps(OutputError("a: no", "full", errno.ENOSPC)))
    assert (str(error), error.strerror, error.errno) == ("a: no", "full", errno.ENOSPC)


def test_only_what_the_system_refuses_is_mendable(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as absent:
        (tmp_path / "absent").read_text()
    assert f"{tmp_path / 'absent'}: cannot be used" in str(mendable(absent.value))
    assert mendable(OSError("no number, no name")) is None


def test_a_place_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    check_place(tmp_path / "new" / "folder" / "scores.json")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="Is a directory"):
        check_place(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is a file, not a folder"):
        check_folder(tmp_path / "file" / "board")
    refusal = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    monkeypatch.setattr(files.tempfile, "TemporaryFile", Mock(side_effect=refusal))
    with pytest.raises(OutputError, match=r"Permission denied.*that you may use"):
        check_folder(tmp_path / "board")
