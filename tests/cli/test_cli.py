"""The command line as a user meets it: what it writes, how it fails, what it says then."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nowcast.cli.app import app
from nowcast.core.storage.yaml_files import dumps, loads
from nowcast.precipitation.archive.frames import frame_path
from nowcast.precipitation.archive.tree import Archive
from tests import ROOT

CONFIGS = ROOT / "configs" / "precipitation"
SMOKE = str(CONFIGS / "smoke.yaml")
DEMO = str(CONFIGS / "demo.yaml")
QUICK = ["train.steps=6", "train.validate_every=3", "train.log_every=2", "data.random_crop=[32,32]"]

Run = Callable[..., tuple[int, str, str]]


def commands(group=app, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [(*above, c.name or c.callback.__name__) for c in group.registered_commands]
    for inner in group.registered_groups:
        found += commands(inner.typer_instance, (*above, *([inner.name] if inner.name else [])))
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(run: Run, command: tuple[str, ...]):
    status, out, _ = run(*command, "--help")
    assert status == 0
    assert "Example:" in out and f"nowcast {' '.join(command)}" in out


def test_the_commands_are_those_of_the_guide():
    assert {" ".join(command) for command in commands()} == {
        "audit inhibition",
        "config keys",
        "config list",
        "config schema",
        "config show",
        "audit neurons",
        "data check",
        "data convert",
        "data masks",
        "data pack",
        "data sample",
        "data synth",
        "data info",
        "data days",
        "data glue",
        "data images",
        "train",
        "evaluate",
        "export",
        "forecast",
        "watch",
        "serve",
        "compare",
        "combine",
        "submit",
        "tune",
        "report",
        "board",
    }


def test_train_evaluate_and_the_contract_of_the_json(run: Run, synthetic: Path, tmp_path: Path):
    folder, file = tmp_path / "run", tmp_path / "scores.json"
    status, out, err = run("train", SMOKE, f"data.root={synthetic}", *QUICK, "--run", folder)
    assert status == 0, err
    assert "finished 6 steps" in out
    assert loads((folder / "config.yaml").read_text())["train"]["steps"] == 6

    options = ["--data", synthetic, "--split", "test", "--json", file]
    status, out, err = run("evaluate", folder, *options, "data.out_len=4", "data.masks=both")
    assert status == 0, err
    assert "B-MSE" in out and "64x64 pixels" in out
    found = json.loads(file.read_text())
    assert found["forecaster"] == folder.name
    assert found["data"] == "synthetic"
    assert (found["split"], found["in_len"], found["out_len"]) == ("test", 5, 4)
    assert found["clips"] > 5
    assert found["masks"] == "both"
    assert list(found["csi"]) == list(found["hss"]) == ["0.5", "2", "5", "10", "30"]
    by_lead = found["by_lead_time"]
    assert by_lead["minutes"] == [6, 12, 18, 24]
    for name in ("b_mse", "b_mae"):
        assert len(by_lead[name]) == 4
        assert found[name] == pytest.approx(sum(by_lead[name]) / 4)
    assert found["csi"]["0.5"] == pytest.approx(sum(by_lead["csi"]["0.5"]) / 4)


def test_evaluate_online_learns_in_memory_and_leaves_the_run_as_it_is(
    run: Run, synthetic: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    assert run("train", SMOKE, f"data.root={synthetic}", *QUICK, "--run", folder)[0] == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def scores(forecaster: object, *more: str) -> dict:
        file = tmp_path / "scores.json"
        options = ["--data", synthetic, "--json", file, "train.batch_size=1", "data.out_len=5"]
        status, _, err = run("evaluate", forecaster, *options, *more)
        assert status == 0, err
        return json.loads(file.read_text())

    offline, learnt = scores(folder), scores(folder, "--online", "online.lr=0.01")
    assert (offline.pop("online"), learnt["online"]) == (False, True)
    assert learnt["clips"] == offline["clips"]
    assert learnt["b_mse"] < offline["b_mse"]  # six steps of training leave something to learn
    idle = scores(folder, "--online", "online.updates=0")
    assert {**idle, "online": None} == {**offline, "online": None}
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    baseline, idle = scores("persistence"), scores("persistence", "--online")
    assert {**idle, "online": None} == {**baseline, "online": None}
    options = ["--data", synthetic, "--online", "--out", tmp_path / "board"]
    status, _, err = run("evaluate", folder, *options)
    assert (status, "by itself" in err) == (2, True)


@pytest.mark.usefixtures("few_resamples")
def test_a_leaderboard_is_of_the_same_clips(run: Run, synthetic: Path, tmp_path: Path):
    trained, out_folder = tmp_path / "run", tmp_path / "board"
    assert run("train", SMOKE, f"data.root={synthetic}", *QUICK, "--run", trained)[0] == 0
    board = ["--data", synthetic, "--out", out_folder]
    status, out, err = run("evaluate", trained, *board, "data.stride=40")
    assert status == 0, err
    assert "persistence" in out and "leaderboard.html" in out
    assert "* or bold: the best mean of its column" in out
    for name in ("html", "md", "csv", "json"):
        text = (out_folder / f"leaderboard.{name}").read_text()
        assert str(trained) not in text and "run" in text, name
    rows = json.loads((out_folder / "leaderboard.json").read_text())
    assert [row["forecaster"] for row in rows] == ["persistence", "run"]
    assert len({(row["clips"], row["clips_hash"], row["blocks"]) for row in rows}) == 1
    file = tmp_path / "alone.json"
    alone = ["--data", synthetic, "--json", file, "data.stride=40"]
    assert run("evaluate", trained, *alone)[0] == 0
    found = json.loads(file.read_text())
    assert found["clips_hash"] == rows[1]["clips_hash"]
    assert found["csi"] == rows[1]["csi"]
    assert found["b_mse"] == pytest.approx(rows[1]["b_mse"], rel=1e-9)

    other = tmp_path / "other"
    longer = [f"data.root={synthetic}", *QUICK, "data.out_len=7", "--run", other]
    assert run("train", SMOKE, *longer)[0] == 0
    status, _, err = run("evaluate", trained, other, *board)
    assert status == 2
    assert "other: expected the same samples" in err and "out_len" in err
    named = f"long={other}"
    assert run("evaluate", trained, named, *board, "data.out_len=3", "data.stride=40")[0] == 0
    rows = json.loads((out_folder / "leaderboard.json").read_text())
    assert [row["forecaster"] for row in rows] == ["persistence", "run", "long"]
    status, _, err = run("evaluate", f"persistence={other}", *board)
    assert status == 2 and "give it another name: NAME=" in err


@pytest.mark.usefixtures("few_resamples")
def test_thresholds_matched_on_validation_are_tried_on_test(
    run: Run, synthetic: Path, tmp_path: Path
):
    def board(split: str, *more: object) -> tuple[int, str]:
        options = ["--split", split, "--out", tmp_path / split, "data.stride=40", *more]
        status, _, err = run("evaluate", "flow", "--data", synthetic, *options)
        return status, err

    valid, test = (tmp_path / split / "leaderboard.json" for split in ("valid", "test"))
    assert board("valid")[0] == board("test", "--match-bias", valid)[0] == 0
    before, after = (json.loads(file.read_text()) for file in (valid, test))
    for row in after:
        assert list(row["bias"]) == list(row["csi_matched"]) == ["0.5", "2", "5", "10", "30"]
        assert row["csi_fitted"].keys() == row["bias_fitted"].keys() == row["bias"].keys()
        assert 0 < row["csi_fitted"]["0.5"] < 1
    assert after[0]["csi_fitted"] != after[1]["csi_fitted"]
    assert all("csi_fitted" not in row and "csi_fitted/2" not in row["skill"] for row in before)
    for name in ("md", "html"):
        said = (tmp_path / "test" / f"leaderboard.{name}").read_text()
        assert "CSI at its own threshold ≥ 10 mm/h" in said and "bias ≥ 30 mm/h" in said
        assert "CSI at its own" not in (tmp_path / "valid" / f"leaderboard.{name}").read_text()
    status, err = board("valid", "--match-bias", valid)
    assert status == 2 and "expected thresholds from other clips" in err
    options = ["--data", synthetic, "--match-bias", valid]
    status, _, err = run("evaluate", "flow", *options)
    assert status == 2 and "--out DIR" in err


def test_persistence_is_evaluated_on_the_crop_that_is_asked_for(
    run: Run, synthetic: Path, tmp_path: Path
):
    sizes = {}
    for crop in ("null", "[8,40,0,64]"):
        file = tmp_path / "p.json"
        arguments = ["persistence", "--data", synthetic, "--json", file, f"data.crop={crop}"]
        assert run("evaluate", *arguments)[0] == 0
        found = json.loads(file.read_text())
        sizes[crop] = (found["height"], found["width"], found["b_mse"])
    assert sizes["null"][:2] == (64, 64)
    assert sizes["[8,40,0,64]"][:2] == (32, 64)
    assert 0 < sizes["[8,40,0,64]"][2] < sizes["null"][2]


@pytest.mark.usefixtures("few_resamples")
def test_compare_and_report(run: Run, synthetic: Path, tmp_path: Path):
    config = loads(Path(SMOKE).read_text())
    config["compare"] = {
        "seeds": [0, 1],
        "baselines": ["persistence"],
        "variants": {
            "P-MEmeL": {},
            "T-MEmeL": {"start_from": "P-MEmeL", "set": {"train.steps": 3, "memel": None}},
        },
    }
    (tmp_path / "c.yaml").write_text(dumps(config))
    out_folder = tmp_path / "out"
    quick = [*QUICK, "data.stride=20"]
    arguments = [tmp_path / "c.yaml", f"data.root={synthetic}", *quick, "--out", out_folder]
    status, out, err = run("compare", *arguments)
    assert status == 0, err
    assert "5 runs and baselines, 0 of them finished" in err
    assert str(out_folder / "report.html") in out
    assert f"nowcast board {out_folder}" in out
    for name in ("table.md", "table.csv", "scores.json", "report.html"):
        assert (out_folder / name).is_file()
    for name in ("persistence", "P-MEmeL", "T-MEmeL"):
        assert name in out and name in (out_folder / "table.md").read_text()

    status, again, err = run("compare", *arguments)
    assert status == 0 and "5 runs and baselines, 5 of them finished" in err
    assert again == out
    status, reported, _ = run("report", out_folder)
    assert status == 0 and reported.splitlines()[0] == out.splitlines()[0]

    changed = run("compare", *arguments, "optim.lr=0.5")
    assert changed[0] == 2 and "optim.lr 0.002 there, 0.5 now" in changed[2]


def test_tune_searches_a_config_or_the_variants_that_say_so(
    run: Run, synthetic: Path, tmp_path: Path
):
    space = {"space": {"memel.top_k": [1, 5]}}
    options = [f"data.root={synthetic}", *QUICK, "--out", tmp_path]
    status, out, err = run("tune", SMOKE, *options, f"tune={space}")
    assert status == 0, err
    assert "smoke: 2 settings tried on valid (2 complete), seed 0; memel.top_k=" in out
    assert "b_mse + b_mae" in out

    config = loads(Path(SMOKE).read_text())
    config["compare"] = {
        "seeds": [4],
        "variants": {"P": {}, "A": {"start_from": "P", "tune": space}, "B": {"tune": space}},
    }
    (tmp_path / "c.yaml").write_text(dumps(config))
    status, out, err = run("tune", tmp_path / "c.yaml", *options, "--variant", "A")
    assert status == 0, err
    assert "A: 2 settings tried on valid (2 complete), seed 4; memel.top_k=" in out
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["P"]
    assert not (tmp_path / "tune" / "B").exists()
    again = run("tune", tmp_path / "c.yaml", *options, "--variant", "A")
    assert again[:2] == (0, out)


def test_synth_and_info(run: Run, tmp_path: Path):
    root = tmp_path / "synthetic"
    size = ["--days", 3, "--seed", 1, "--size", 32, "--step", 30]
    status, out, err = run("data", "synth", root, *size)
    assert status == 0, err
    assert f"nowcast data info {root}" in out
    status, out, _ = run("data", "info", root, root)
    assert status == 0
    assert out.count("32 x 32 px") == 2
    assert "spectrum slope" in out and "decorrelation time" in out


@pytest.fixture(scope="module")
def vil(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic archive, stated to hold VIL."""
    root = tmp_path_factory.mktemp("vil") / "vil"
    shutil.copytree(synthetic, root)
    stated = json.loads((root / "archive.json").read_text()) | {"quantity": "VIL"}
    (root / "archive.json").write_text(json.dumps(stated))
    return root


NOMINAL = "VIL is no rain rate: thresholds and rates in mm/h are nominal"


def test_info_says_where_thresholds_are_nominal(run: Run, synthetic: Path, vil: Path):
    status, out, _ = run("data", "info", synthetic, vil)
    assert status == 0
    assert out.count("nominal") == 1 and f"\n{vil}: {NOMINAL}\n" in out


def test_evaluate_says_where_thresholds_are_nominal(
    run: Run, synthetic: Path, vil: Path, tmp_path: Path
):
    file = tmp_path / "scores.json"
    found = {}
    for root in (synthetic, vil):
        status, out, err = run("evaluate", "persistence", "--data", root, "--json", file)
        assert status == 0, err
        assert (f"\n{NOMINAL}\n" in out) == (root == vil)
        found[root] = json.loads(file.read_text())
    assert found[vil]["quantity"] == "VIL" and found[vil]["note"] == NOMINAL
    assert found[synthetic]["quantity"] == "reflectivity" and "note" not in found[synthetic]
    assert found[vil]["b_mse"] == found[synthetic]["b_mse"]


def test_info_on_real_radar(run: Run, radar_dev: Path):
    status, out, _ = run("data", "info", radar_dev)
    assert status == 0
    assert "480 x 480 px" in out and "212" in out and "5 min" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "nowhere.yaml", "--run", "r"], "nowhere.yaml: expected a config file"),
        (["train", SMOKE, "--run", "r"], "data.root: expected the folder of an archive"),
        (
            ["train", SMOKE, "data.root=nowhere", "--run", "r"],
            "expected an archive with a radarPNG",
        ),
        (["train", SMOKE, "train.steps=many", "--run", "r"], "train.steps: Input should be"),
        (["train", SMOKE, "steps=3", "--run", "r"], "steps: unknown key"),
        (["train", SMOKE], "Missing option '--run'"),
        (["evaluate", "persistence", "persistence", "--data", "ROOT"], "--out DIR"),
        (["evaluate", "flow", "--data", "ROOT", "--json", "a", "--out", "b"], "leaderboard.json"),
        (
            ["evaluate", "lr=3", "--data", "ROOT", "--out", "b"],
            "found none; give the folder of a run",
        ),
        (["evaluate", "A=runs/none", "--data", "ROOT", "--out", "b"], "found 'runs/none'"),
        (["evaluate", "flow", "flow", "--data", "ROOT", "--out", "b"], "found flow twice"),
        (["evaluate", "persistense", "--data", "ROOT"], "found 'persistense'"),
        (["evaluate", "persistence", "--data", "ROOT", "data.crop=paper"], "leaves the archive's"),
        (["evaluate", "persistence", "--data", "ROOT", "--split", "all"], "'all' is not one of"),
        (["evaluate", "persistence", "--data", "ROOT", "data.in_len=999"], "no run of that length"),
        (["compare", SMOKE, "data.root=ROOT", "--out", "o"], "expected a `compare:` section"),
        (["tune", SMOKE, "data.root=ROOT", "--out", "o", "--variant", "X"], "leave it out"),
        (
            ["tune", SMOKE, "data.root=ROOT", "--out", "o", "tune.space=[1]"],
            "space: Input should be",
        ),
        (["tune", SMOKE, "data.root=ROOT", "--out", "o", "tune.space={memel.k: [1]}"], "memel.k"),
        (["tune", DEMO, "data.root=ROOT", "--out", "o"], "variant with `tune:`; found none"),
        (["tune", DEMO, "data.root=ROOT", "--out", "o", "tune.trials=3"], "to one of its variants"),
        (["report", "ROOT"], "expected scores.json"),
        (["data", "synth", "ROOT"], "expected a new or empty folder"),
        (["data", "synth", "new", "--days", "1"], "expected at least 3"),
        (["data", "info", "nowhere"], "expected an archive"),
        (["frobnicate"], "No such command"),
    ],
)
def test_a_users_mistake_is_status_2_and_one_message(
    run: Run,
    synthetic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*(argument.replace("ROOT", str(synthetic)) for argument in arguments))
    assert status == 2
    assert said in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err + out


def test_a_damaged_frame_is_status_1_and_named(
    run: Run, write_archive: Callable[..., Path], tmp_path: Path
):
    from tests.conftest import every

    root = write_archive(
        {
            "train": every(6, "2020-01-01T00:00", 30),
            "valid": every(6, "2020-02-01T00:00", 30),
            "test": every(6, "2020-03-01T00:00", 30),
        }
    )
    broken = frame_path(root, Archive(root).moments_of("test")[3])
    broken.write_bytes(broken.read_bytes()[:-20])
    status, _, err = run("evaluate", "persistence", "--data", root)
    assert status == 1
    assert str(broken) in err and "truncated" in err and "data.max_missing" in err
    assert "Traceback" not in err


def test_a_run_of_another_config_is_not_overwritten(run: Run, synthetic: Path, tmp_path: Path):
    folder = tmp_path / "run"
    arguments = ["train", SMOKE, f"data.root={synthetic}", *QUICK, "--run", folder]
    assert run(*arguments)[0] == 0
    weights = (folder / "best.safetensors").read_bytes()
    status, _, err = run(*arguments, "train.seed=5")
    assert status == 2
    assert "train.seed 0 there, 5 now" in err
    assert (folder / "best.safetensors").read_bytes() == weights
    assert run(*arguments)[0] == 0  # and the same command finds it finished


def test_audit_neurons_writes_its_files_and_names_what_it_knows(
    run: Run, synthetic: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    assert run("train", SMOKE, f"data.root={synthetic}", "--run", folder, *QUICK)[0] == 0
    options = ("--split", "train", "--top", 2, "--device", "cpu")
    call = ("audit", "neurons", folder, *options, "data.stride=4")
    status, out, err = run(*call, "--features", "by_rain_rate")
    assert status == 0, err
    assert ".candidate" in out and " mm/h" in out
    assert "left out, with fewer than 3 samples: 5 to 10 mm/h (2)" in out
    assert "the smallest group compared has 3 samples" in out
    lines = (folder / "audit" / "neurons.csv").read_text().splitlines()
    assert lines[0].startswith("site,neuron,group,samples,mean,deviation,d,stands_out")
    assert len(lines) >= 1 + 2 * 2
    assert (folder / "audit" / "neurons.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((folder / "audit" / "neurons.json").read_text())
    assert (kept["source"], kept["split"], kept["unit"]) == ("run", "train", "channel")
    assert len(kept["rows"]) == len(lines) - 1 and kept["left_out"] == {"5 to 10 mm/h": 2}
    assert kept["rows"][0]["site"] == lines[1].split(",")[0]
    status, _, err = run(*call, "--features", "by_colour")
    assert (status, "by_rain_rate, by_day, by_motion" in err) == (2, True)
    status, _, err = run(*call, "--features", "by_day", "--site", "nowhere")
    assert (status, "encoder.0.candidate" in err) == (2, True)


def test_audit_inhibition_leaves_figures_and_a_picture(run: Run, synthetic: Path, tmp_path: Path):
    folder = tmp_path / "run"
    assert run("train", SMOKE, f"data.root={synthetic}", "--run", folder, *QUICK)[0] == 0
    options = ("--steps", 3, "--device", "cpu")
    call = ("audit", "inhibition", folder, *options, "--json", tmp_path / "also.json")
    status, out, err = run(*call)
    assert status == 0, err
    kept = json.loads((folder / "audit" / "inhibition.json").read_text())
    assert f"{folder / 'audit' / 'inhibition.json'}, inhibition.png" in out
    assert json.loads((tmp_path / "also.json").read_text()) == kept["methods"]
    assert [row["method"] for row in kept["methods"]] == [
        *("Original", "Naive (a)", "Naive (b)", "Reversed Deactivation")
    ]
    first = kept["methods"][0]
    assert first["batches"] == 3 and first["neurons"] > 0
    assert first["decrease"]["low"] < first["decrease"]["value"] < first["decrease"]["high"]
    assert (kept["source"], kept["sites"]) == ("run", ["*.candidate"]) and "machine" in kept
    picture = (folder / "audit" / "inhibition.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    other = tmp_path / "other"
    of_config = ("audit", "inhibition", SMOKE, f"data.root={synthetic}", "--steps", 2)
    status, out, _ = run(*of_config)
    assert status == 0 and "--out DIR writes JSON and a picture" in out
    assert run(*of_config, "--out", other)[0] == 0
    assert sorted(path.name for path in other.iterdir()) == ["inhibition.json", "inhibition.png"]


def test_audit_inhibition_of_too_few_values_is_a_message(run: Run, synthetic: Path, tmp_path: Path):
    status, _, err = run("audit", "inhibition", SMOKE, f"data.root={synthetic}", "--neurons", 1)
    assert status == 2
    assert "expected at least 2 batches" in err and "Traceback" not in err
