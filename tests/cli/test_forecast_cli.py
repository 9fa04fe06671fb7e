"""`nowcast forecast` as a user meets it."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nowcast.cli.watch import say
from nowcast.core.storage.yaml_files import dumps
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import frame_path
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from tests import ROOT

SMOKE = ROOT / "configs" / "precipitation" / "smoke.yaml"
QUICK = ["train.steps=2", "train.validate_every=2", "train.log_every=2", "data.random_crop=[32,32]"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(synthetic: Path, tmp_path: Path) -> Path:
    """The synthetic archive up to the wettest of some moments, without day lists."""
    archive = Archive(synthetic)
    wettest = max(archive.moments[20:-20:20], key=lambda at: int(archive.frame(at).sum()))
    folder = tmp_path / "radar"
    folder.mkdir()
    shutil.copy(synthetic / "archive.json", folder)
    for moment in archive.moments[(archive.moments <= wettest)][-16:]:
        path = frame_path(folder, moment)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(frame_path(synthetic, moment), path)
    return folder


@pytest.fixture
def corner(tmp_path: Path) -> Path:
    """Frames of 20x30 pixels of which a corner alone is wet."""
    root = tmp_path / "corner"
    levels = np.zeros((20, 30), dtype=np.uint8)
    levels[0, 0] = 153
    used = np.ones(levels.shape, dtype=bool)
    with ArchiveWriter(root, Description("corner", "nobody", 5, 20, 30, 58.53, 1.56)) as writer:
        for step in range(14):
            writer.write(np.datetime64("2024-05-01T10:00", "m") + 5 * step, levels, used)
        writer.finish(used, {"train": {}, "valid": {}, "test": {"20240501": 1.0}})
    return root


def newest(root: Path, back: int = 0) -> np.datetime64:
    return np.datetime64(Archive(root).moments[-1 - back])


def test_a_trained_run_forecasts_from_what_is_newest(
    run: Run, root: Path, synthetic: Path, tmp_path: Path
):
    trained, out = tmp_path / "run", tmp_path / "forecast"
    status, _, err = run("train", SMOKE, f"data.root={synthetic}", *QUICK, "--run", trained)
    assert status == 0, err
    status, said, err = run("forecast", root, "--weights", trained, "--lead", "1h", "--out", out)
    assert status == 0, err
    for line in (
        f"init      {newest(root)} UTC",
        "model     run\n",  # the name of its folder; the path is among the facts
        "+6 min: ",
        "+60 min",
    ):
        assert line in said
    assert "inputs    5 frames, 6 minutes apart" in said and "forecast.json" in said
    assert "10 steps ahead is beyond the 5" in err
    facts = json.loads((out / "forecast.json").read_text())["facts"]
    assert facts["trained_step_minutes"] == 6 and facts["beyond_training"]
    kept = json.loads((trained / "trained_on.json").read_text())
    assert (kept["step_minutes"], kept["in_lens"]) == (6, [5])
    assert facts["masks"].startswith("none")
    assert not (root / "hko_data").exists()


def test_the_formats_that_are_asked_for_are_written(run: Run, root: Path, tmp_path: Path):
    def files(out: str, *formats: str) -> set[str]:
        options = [part for kind in formats for part in ("--format", kind)]
        place = ["--out", tmp_path / out, "--lead", "12"]
        status, _, err = run("forecast", root, "--weights", "flow", *place, *options)
        assert status == 0, err
        return {path.suffix for path in (tmp_path / out).rglob("*") if path.is_file()}

    assert files("default") >= {".json", ".png", ".gif", ".nc"}
    assert not list((tmp_path / "default").rglob("*.h5"))
    assert files("chosen", "h5", "gif") == {".json", ".h5", ".gif"}
    status, _, err = run("forecast", root, "--out", tmp_path / "bad", "--format", "tiff")
    assert (status, "tiff" in err) == (2, True)


def test_a_missing_frame_and_an_earlier_time_are_stated(run: Run, root: Path, tmp_path: Path):
    late, init, hole = newest(root), newest(root, 1), newest(root, 4)
    for moment in (late, hole):
        frame_path(root, moment).unlink()
    options = ["--weights", "persistence", "--format", "gif", "--out", tmp_path / "out"]
    status, out, err = run("forecast", root, *options, "--at", f"{late}+00:00")
    assert status == 0, err
    assert f"init      {init} UTC" in out and "1 of them carried" in out
    assert f"--at {late}: the newest frame up to then is of {init}" in err
    assert f"{hole}: missing, carried" in err
    found = json.loads((tmp_path / "out" / "forecast.json").read_text())["facts"]
    assert list(found["carried"]) == [str(hole)]
    # The same hour by another clock.
    local = f"{late + np.timedelta64(120, 'm')}+02:00"
    options[-1] = tmp_path / "again"
    status, again, err = run("forecast", root, *options, "--at", local)
    assert status == 0 and f"init      {init} UTC" in again


def test_a_forecast_replaces_another_only_where_that_is_asked_for(
    run: Run, root: Path, tmp_path: Path
):
    out = tmp_path / "out"
    options = ["--format", "gif", "--out", out]
    assert run("forecast", root, "--weights", "persistence", *options)[0] == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    status, _, err = run("forecast", root, "--weights", "flow", *options)
    there = f"the forecast of persistence from {newest(root)}Z"
    assert status == 2 and f"found {there} in {out}" in err and "--overwrite replaces it" in err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    status, said, err = run("forecast", root, "--weights", "flow", *options, "--overwrite")
    assert status == 0 and f"replaced  {there}" in said, err
    assert json.loads((out / "forecast.json").read_text())["model"] == "flow"
    status, said, _ = run("forecast", root, "--weights", "flow", *options[:-1], tmp_path / "new")
    assert status == 0 and "replaced" not in said


def test_files_are_the_input(run: Run, root: Path, tmp_path: Path):
    files = [frame_path(root, newest(root, back)) for back in range(3, 13)]
    options = ["--weights", "flow", "--format", "gif", "--out", tmp_path / "out"]
    status, out, err = run("forecast", *files, *options)
    assert status == 0, err
    assert f"init      {newest(root, 3)} UTC" in out


def test_a_real_archive_of_three_radars(run: Run, radar_dev: Path, tmp_path: Path):
    options = ["--weights", "flow", "--lead", "30min", "--format", "nc", "--out", tmp_path / "out"]
    status, out, err = run("forecast", radar_dev, "--at", "2016-07-11T22:00", *options)
    assert status == 0, err
    assert "init      2016-07-11T22:00 UTC" in out and "masks: frame" in out


def test_mistakes_are_told_in_a_sentence(run: Run, root: Path, tmp_path: Path):
    flow = ["--weights", "flow"]
    out = ["--out", tmp_path / "out"]
    full, frame = tmp_path / "full", frame_path(root, newest(root))
    full.mkdir()
    (full / "thesis.tex").write_text("")
    glue = tmp_path / "glue"
    glue.mkdir()
    (glue / "config.yaml").write_text(dumps({"task": "glue", "data": {"name": "rte"}}))
    (glue / "best.safetensors").write_bytes(b"")
    for arguments, expected, words in (
        ([tmp_path / "nothing", *flow, *out], 2, "expected an archive (a folder with radarPNG/"),
        ([root, "--weights", "flaw", *out], 2, "a baseline (persistence, flow"),
        ([root, "--weights", tmp_path, *out], 2, "folder of a run that has been validated"),
        ([root, "--weights", glue, *out], 2, "a run of the task glue"),
        ([root, "--weights", "flow:wet", *out], 2, "flow:persist"),
        ([root, *flow, *out, "--at", "noon"], 2, "--at: expected a time such as"),
        ([root, *flow, *out, "--at", "1990-01-01"], 2, "not before the first frame"),
        ([root, *flow, *out, "--at", str(newest(root, 15))], 1, "expected 10 frames (2 in a"),
        ([root, *flow, *out, "--lead", "soon"], 2, "--lead: expected a time above 0"),
        ([root, *flow, *out, "--lead", "0h"], 2, "--lead: expected a time above 0"),
        ([root, *flow, "--out", full], 2, "holds something else (thesis.tex)"),
        ([root, *flow, "--out", full, "--watch"], 2, "holds something else (thesis.tex)"),
        ([root, *flow, "--out", frame], 2, "found the file"),
        ([root, *flow, *out, "--at", "2020-07-01 14:00 CEST"], 2, "CEST is +02:00: write 2020-"),
        ([root, *flow, *out, "--watch", "--overwrite"], 2, "--overwrite: --watch makes a folder"),
        ([root, *flow, *out, "--keep", "3"], 2, "--keep: only --watch"),
        ([root, *flow, *out, "--watch", "--at", "2020-01-01"], 2, "--at: --watch"),
        ([frame, frame, *flow, *out, "--watch"], 2, "the folder of one archive"),
        ([frame, *flow, *out, "--watch"], 2, "radar files, to follow"),
        ([root, *flow, *out, "--watch", "--every", "-1s"], 2, "--every: expected a time above 0"),
    ):
        status, _, err = run("forecast", *arguments)
        assert (status, words in " ".join(err.split())) == (expected, True), err
    assert not (tmp_path / "out").exists()


def test_sigterm_ends_a_watch_cleanly(root: Path, tmp_path: Path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "nowcast", "forecast", root, "--weights", "persistence"]
    options = ["--watch", "--every", "0.1s", "--format", "gif", "--out", out]
    watching = subprocess.Popen(
        [*map(str, command), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        for _ in range(600):
            if (out / "latest.json").is_file() or watching.poll() is not None:
                break
            time.sleep(0.1)
        watching.send_signal(signal.SIGTERM)
        said, err = watching.communicate(timeout=60)
    finally:
        watching.kill()
    assert watching.returncode == 0, err
    assert err == ""
    assert f"following {root}" in said and f"{newest(root)}  +60 min: mean" in said
    latest = json.loads((out / "latest.json").read_text())
    assert latest["init"] == str(newest(root))
    assert (out / latest["folder"] / "forecast.json").is_file()


def test_a_fall_back_of_pysteps_is_named_once(run: Run, corner: Path, tmp_path: Path):
    pytest.importorskip("pysteps")
    options = ["--format", "nc", "--lead", "10", "--out", tmp_path / "out"]
    status, said, err = run("forecast", corner, "--weights", "steps", *options)
    assert status == 0, err
    assert "largest 8.3 mm/h in row 0, column 0" in said.splitlines()[5]
    reason = "steps: a clip was forecast by extrapolation, because pysteps' own forecast is dry"
    assert err.count(reason) == 1 and f"nowcast: {reason}" in err
    assert err.count("the archive states no grid, so that a pixel is taken for 1 km") == 1
    facts = json.loads((tmp_path / "out" / "forecast.json").read_text())["facts"]
    assert facts["replaced"] == [f"{reason} though the last frame is not"]
    assert facts["replaced"][0] in facts["notes"]


def test_scores_of_fall_backs_say_so(corner: Path):
    pytest.importorskip("pysteps")
    changes = ["data.in_len=3", "data.out_len=2", "data.stride=4", "data.masks=exclude"]
    # A process of its own, since pytest makes errors of warnings, which a user sees.
    done = subprocess.run(
        [sys.executable, "-m", "nowcast", "evaluate", "steps", "--data", corner, *changes],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reason = "steps: a clip was forecast by extrapolation, because pysteps' own forecast is dry"
    assert done.stderr.count(reason) == 1 and f"nowcast: {reason}" in done.stderr
    assert "UserWarning" not in done.stderr and ".py" not in done.stderr
    assert "steps: 3 clips were forecast otherwise; the warnings say why" in done.stdout


@pytest.mark.parametrize("weights", ["comoving-memel", "flow", "persistence"])
def test_five_frames_are_enough_for_those_that_can_do_with_them(
    run: Run, root: Path, tmp_path: Path, weights: str
):
    for back in range(15, 4, -1):
        frame_path(root, newest(root, back)).unlink()
    options = ["--weights", weights, "--format", "nc", "--out", tmp_path / "out"]
    status, out, err = run("forecast", root, *options)
    assert status == 0, err
    assert "inputs    5 frames" in out
    assert "5 input frames, from" in err and "of the 10 that the forecaster takes" in err
    facts = json.loads((tmp_path / "out" / "forecast.json").read_text())["facts"]
    assert len(facts["inputs"]) == 5
    if weights == "comoving-memel":
        assert "was trained on frames 5 minutes apart (some 2, 4, 6, 8, 10, 15), these are 6" in err


def test_scores_say_where_an_archive_is_not_like_that_of_training(run: Run, synthetic: Path):
    evaluate = ("evaluate", "comoving-memel", "--data", synthetic, "data.stride=200")
    status, _, err = run(*evaluate, "data.in_len=3", "data.out_len=1")
    assert status == 0, err
    assert (
        err.count("trained on frames 5 minutes apart (some 2, 4, 6, 8, 10, 15), these are 6") == 1
    )


def test_a_log_that_is_full_ends_no_watch(monkeypatch: pytest.MonkeyPatch):
    def full(text: str, err: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("typer.echo", full)
    say("a gap")


def test_members_and_what_is_made_of_them(run: Run, root: Path, tmp_path: Path):
    out = tmp_path / "out"
    options = ["--weights", "lagged-flow", "--lead", "60", "--members", "6", "--format", "nc"]
    asked = ["--probability", "0.5,2", "--quantiles", "0.5", "--window", "max:30,sum:60"]
    places = ["--radius", "3px", "--at-point", "px:20,20", "--at-point", "px:5,30"]
    status, said, err = run("forecast", root, *options, *asked, *places, "--out", out)
    assert status == 0, err
    assert "members   6, seed 0" in said and "at px:5,30 within 3px (row 5, column 30)" in said
    assert said.count("rain of 2 mm/h or more") == 2
    assert len(json.loads((out / "points.json").read_text())["points"]) == 2
    told = json.loads((out / "forecast.json").read_text())
    assert told["ensemble"]["thresholds"] == [0.5, 2] and told["facts"]["members"] == 6
    assert [window["window"] for window in told["ensemble"]["windows"]] == ["max:30", "sum:60"]


def test_points_need_no_members(run: Run, root: Path, tmp_path: Path):
    (tmp_path / "places.csv").write_text("47.9,5.6,Nowhere\n")
    out = tmp_path / "out"
    options = ["--weights", "flow", "--lead", "12", "--format", "nc", "--out", out]
    status, said, err = run("forecast", root, *options, "--at-point", "px:20,20,Here")
    assert status == 0, err
    assert "at Here (row 20, column 20)" in said and "rain of 0.5 mm/h or more" in said
    assert (out / "points.csv").read_text().count("\nHere,") == 2
    status, _, err = run(
        *("forecast", root, *options[:-1], tmp_path / "more"),
        *("--at-point", tmp_path / "places.csv"),
    )
    assert status == 2 and "--at-point 47.9,5.6,Nowhere: expected" in err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--probability", "2"], "--probability: expected --members beside it"),
        (["--members", "24"], "1 to 6 members"),
        (["--members", "6", "--weights", "flow"], "which has one forecast; choose comoving"),
        (["--members", "6", "--window", "max:7"], "a multiple of 6 minutes"),
        (["--members", "6", "--at-point", "px:64,0"], "within the 64x64 frame"),
        (["--members", "6", "--quantiles", "half"], "--quantiles: expected numbers"),
    ],
)
def test_options_of_members_that_cannot_be(
    run: Run, root: Path, tmp_path: Path, options: list[str], expected: str
):
    place = ["--out", tmp_path / "out", "--weights", "lagged-flow"]
    status, _, err = run("forecast", root, *place, *options)
    assert status == 2 and expected in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_service_that_is_killed_goes_on_where_it_was(root: Path, tmp_path: Path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "nowcast", "watch", root, "--out", out, "--format", "nc"]
    options = ["--weights", "flow", "--every", "0.1s", "--metrics", out / "nowcast.prom"]
    alarm = ["--alarm", "here,px:20,20,0.1mm/h,60min", "--deadline", "5min"]
    last = frame_path(root, newest(root))
    content = last.read_bytes()
    last.unlink()

    def watched() -> subprocess.Popen[bytes]:
        words = [*map(str, command + options + alarm)]
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log)

    def health(init: np.datetime64) -> dict[str, Any]:
        for _ in range(3000):
            with suppress(OSError):
                told: dict[str, Any] = json.loads((out / "health.json").read_text())
                if told["last_forecast"] == f"{init}Z":
                    return told
            time.sleep(0.1)
        raise AssertionError((tmp_path / "log").read_text())

    before = newest(root)
    service = watched()
    try:
        assert health(before)["rung"] == "flow"
        again = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        assert again.returncode == 2 and "another process writes to" in again.stderr
        service.kill()
        service.wait()
        (out / ".forecast-x").mkdir()  # half written
        last.write_bytes(content)
        service = watched()
        told = health(newest(root))
        assert (told["state"], told["rung_reason"], told["forecasts"]) == ("ok", None, 1)
        service.terminate()
        assert service.wait(60) == 0
    finally:
        service.kill()
        service.wait()
    names = {path.name for path in out.iterdir()} - {".lock", "alarms.jsonl"}
    folders = {f"{init}".replace("-", "").replace(":", "") for init in (before, newest(root))}
    assert names == folders | {"latest.json", "health.json", "nowcast.prom"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--deadline", "soon"], "--deadline: expected a time above 0"),
        (["--alarm", "a,1,2,5mm,1h"], "--alarm: expected"),
        (["--alarm", "a,px:99,0,5mm/h,1h"], "--alarm a px:99,0: expected a point within"),
        (["--alarms", "/nowhere.yaml"], "--alarms /nowhere.yaml: cannot be read"),
        (["--alarm-webhook", "mill"], "--alarm-webhook: expected http"),
    ],
)
def test_options_of_a_service_that_cannot_be(
    run: Run, root: Path, tmp_path: Path, options: list[str], expected: str
):
    status, _, err = run("watch", root, "--out", tmp_path / "out", "--weights", "flow", *options)
    assert status == 2 and expected in err
