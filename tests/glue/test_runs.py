"""Runs of the language task by the commands that all tasks share, from training to submission."""

import json
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from nowcast.core.storage.runs import Run
from nowcast.core.storage.yaml_files import dumps
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.trainer import train
from nowcast.glue.task import GlueTask
from tests.core.ranks import in_ranks
from tests.glue.tiny import settings

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def config(words: Path, bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short recipe with variants, without the folder of the data."""
    content: dict[str, Any] = settings(words, bert).model_dump(mode="json")
    del content["data"]["root"]
    content["train"] |= {"epochs": 2, "keep_state": False}
    content["compare"] = {
        "seeds": [0, 1],
        "split": "valid",
        "baselines": ["majority"],
        "variants": {
            "Original": {},
            "MEmeL": {"set": {"memel.late_start": 3}},
            "MEmeL-T": {"run_of": "MEmeL", "set": {"memel.in_eval": True}},
            "MEmeL-Tune": {
                "set": {"memel.late_start": 3},
                "tune": {"space": {"memel.top_k": [1, 3]}},
            },
        },
    }
    file = tmp_path_factory.mktemp("config") / "words.yaml"
    file.write_text(dumps(content))
    return file


def test_training_tells_good_from_bad_and_beats_the_majority(
    run: Call, config: Path, words: Path, tmp_path: Path
):
    arguments = [
        config,
        f"data.root={words}",
        "train.epochs=20",
        "optim.lr=0.005",
        "--run",
        tmp_path / "run",
    ]
    status, out, err = run("train", *arguments)
    assert status == 0, err
    assert "finished 160 steps" in out and "(error " in out
    status, out, err = run(
        "evaluate", tmp_path / "run", "--data", words, "--split", "valid", "--out", tmp_path / "b"
    )
    assert status == 0, err
    assert "21 examples of SST-2, valid split (dev), of at most 24 tokens" in out
    board = json.loads((tmp_path / "b" / "leaderboard.json").read_text())
    found = {row["forecaster"]: row["accuracy"] for row in board}
    assert found["run"] > found["majority"] + 15
    assert "SST-2 accuracy" in (tmp_path / "b" / "leaderboard.html").read_text()
    options = ["--split", "valid", "--out", tmp_path / "c", "--match-bias", tmp_path / "b.json"]
    status, _, err = run("evaluate", tmp_path / "run", "--data", words, *options)
    assert status == 2 and "--match-bias: expected precipitation" in err


@pytest.mark.usefixtures("few_resamples")
def test_a_comparison_of_each_data_set_and_one_table_of_them(
    run: Call, config: Path, words: Path, tmp_path: Path
):
    for name in ("rte", "sts-b"):
        of = [f"data.root={words}", f"data.name={name}", "train.epochs=1"]
        status, out, err = run("compare", config, *of, "--out", tmp_path / name)
        assert status == 0, err
        assert "MEmeL-T" in out and "MEmeL-Tune" in out
    status, out, err = run(
        "combine", tmp_path / "rte", tmp_path / "sts-b", "--out", tmp_path / "all"
    )
    assert status == 0, err
    text = (tmp_path / "all" / "table.md").read_text()
    assert "* or bold: the best mean" in text
    header, _, *rows = text.splitlines()
    assert header == "|  | RTE accuracy ↑ | STS-B Spearman ↑ | average ↑ |"
    assert [row.split(" | ")[0] for row in rows[:5]] == [
        "| majority",
        "| Original",
        "| MEmeL",
        "| MEmeL-T",
        "| MEmeL-Tune",
    ]
    memel = Run(tmp_path / "rte" / "runs" / "MEmeL" / "seed0")
    assert memel.is_finished and not memel.last_state.exists()
    page = (tmp_path / "rte" / "report.html").read_text()
    assert "RTE accuracy" in page and "MEmeL-Tune: 2 settings tried on valid" in page


def test_a_submission_is_what_the_models_answer(
    run: Call, config: Path, words: Path, bert: Path, tmp_path: Path
):
    for name in ("sst-2", "mnli"):
        short = [f"data.name={name}", "train.epochs=0.2", "train.validate_every=9"]
        status, _, err = run(
            "train", config, f"data.root={words}", *short, "--run", tmp_path / name
        )
        assert status == 0, err
    runs = [tmp_path / "sst-2", tmp_path / "mnli"]
    status, _, err = run("submit", *runs, "--out", tmp_path / "out")
    assert status == 2 and "CoLA.tsv, MRPC.tsv, STS-B.tsv, QQP.tsv, QNLI.tsv" in err
    assert not (tmp_path / "out").exists()
    more = ["--majority", "rte", "--majority", "sts-b", "--partial"]
    status, out, err = run("submit", *runs, *more, "--out", tmp_path / "out")
    assert status == 0, err
    assert "9 predictions" in out
    with zipfile.ZipFile(tmp_path / "out" / "submission.zip") as file:
        names = ["AX.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "RTE.tsv", "SST-2.tsv", "STS-B.tsv"]
        assert file.namelist() == names
        lines = {name: file.read(name).decode().splitlines() for name in names}
    assert all(rows[0] == "index\tprediction" and len(rows) == 10 for rows in lines.values())
    assert {row.split("\t")[1] for row in lines["AX.tsv"][1:]} <= {
        "entailment",
        "neutral",
        "contradiction",
    }
    task = GlueTask(settings(words, bert))
    counts = torch.bincount(torch.from_numpy(task.split("train").labels()))
    rte = {"0": "not_entailment", "1": "entailment"}[str(int(counts.argmax()))]
    assert lines["RTE.tsv"][1:] == [f"{row}\t{rte}" for row in range(9)]
    status, _, err = run("submit", runs[0], runs[0], "--out", tmp_path / "out")
    assert status == 2 and "several of sst-2" in err


def test_a_run_that_was_stopped_goes_on_to_the_bit(words: Path, bert: Path, tmp_path: Path):
    chosen = settings(
        words, bert, train={"epochs": 1, "validate_every": 4}, memel={"late_start": 2}
    )

    class Stopped(Exception):
        pass

    def stop(step: int, _: float) -> None:
        if step == 4:
            raise Stopped

    train(GlueTask(chosen), chosen, Run(tmp_path / "whole"), Ranks())
    with pytest.raises(Stopped):
        train(GlueTask(chosen), chosen, Run(tmp_path / "parts"), Ranks(), after_validation=stop)
    train(GlueTask(chosen), chosen, Run(tmp_path / "parts"), Ranks())
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    assert whole.history() == parts.history()
    assert whole.best_weights.read_bytes() == parts.best_weights.read_bytes()


def learn(ranks: Ranks, words: Path, bert: Path, folder: Path) -> dict[str, float | None]:
    torch.manual_seed(0)
    chosen = settings(words, bert, train={"epochs": 1, "batch_size": 8}, memel={"late_start": 2})
    task = Steady(chosen)
    train(task, chosen, Run(folder), ranks)
    model = task.model()
    scores = evaluate(task, model, "valid", ranks, torch.device("cpu"))
    return {"examples": float(scores.support["examples"])}


class Steady(GlueTask):
    """Without dropout, which each rank draws for itself."""

    def model(self) -> torch.nn.Module:
        model = super().model()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return model


@pytest.mark.slow
def test_two_ranks_are_one(words: Path, bert: Path, tmp_path: Path):
    states = []
    for size in (1, 2):
        found = in_ranks(size, learn, words, bert, tmp_path / f"{size}")
        assert found == [{"examples": 21.0}] * size
        run = Run(tmp_path / f"{size}")
        states.append(torch.load(run.last_state, weights_only=True)["model"])
    one, two = states
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=2e-4, msg=name)


def test_the_audit_of_a_run_leaves_padding_alone(
    run: Call, config: Path, words: Path, tmp_path: Path
):
    changes = ["train.epochs=1", "memel.late_start=3"]
    run("train", config, f"data.root={words}", *changes, "--run", tmp_path / "run")
    options = ["--neurons", "64", "--json", tmp_path / "audit.json"]
    status, out, err = run("audit", "inhibition", tmp_path / "run", *options)
    assert status == 0, err
    rows = json.loads((tmp_path / "audit.json").read_text())
    assert rows[0]["method"] == "Original" and rows[0]["neurons"] == 64
    assert "bert.encoder.layer.0" in out


def test_the_neurons_of_blocks_are_audited_by_groups_of_texts(
    run: Call, config: Path, words: Path, tmp_path: Path
):
    changes = ["train.epochs=1", "memel.late_start=3", "memel.method=penalty"]
    changes += ["train.monosemanticity=8"]
    assert run("train", config, f"data.root={words}", *changes, "--run", tmp_path / "run")[0] == 0
    entries = [entry for entry in Run(tmp_path / "run").history() if "valid" in entry]
    (site, *_), numbers = zip(*entries[-1]["monosemanticity"].items(), strict=True)
    assert site == "bert.encoder.layer.0"
    assert 0.5 < numbers[0]["mean_phi"] < 1.1 and numbers[0]["kurtosis"] > 1
    call = ("audit", "neurons", tmp_path / "run", "--features", "by_label", "--top", "1")
    status, _, err = run(*call)
    assert status == 0, err
    found = json.loads((tmp_path / "run" / "audit" / "neurons.json").read_text())
    assert found["selectivity"][site]["neurons"] == 16
    assert set(found["selectivity"][site]["false_killing_rate"]) == {"0.01", "0.02", "0.03"}
    assert len(found["rows"]) == 2 and found["rows"][0]["increase"] is not None
    status, _, err = run(*call, "--site", "bert.encoder.layer.1.output.dense", "--unit", "position")
    assert (status, "take --unit channel" in err) == (2, True)


def test_the_schedule_is_that_of_the_recipe(words: Path, bert: Path, tmp_path: Path):
    chosen = settings(words, bert, train={"epochs": 2, "log_every": 1})
    task = GlueTask(chosen)
    train(task, chosen, Run(tmp_path / "run"), Ranks())
    rates = [entry["lr"] for entry in Run(tmp_path / "run").history() if "lr" in entry]
    assert len(rates) == 16 and rates[0] == 0
    assert rates[1] == pytest.approx(3e-3) and rates[-1] == pytest.approx(3e-3 / 15)
    assert len(list(islice(task.evaluation_batches("valid", Ranks()), 9))) == 3
