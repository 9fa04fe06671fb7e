"""A leaderboard says who is better, by how much, and who cannot be told apart."""

import csv
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nowcast.core.comparison.board import Board
from nowcast.core.comparison.findings import as_sections
from nowcast.core.comparison.leaderboard import verdicts, write_leaderboard
from nowcast.core.comparison.references import Reference
from nowcast.core.comparison.statistics.significance import contrasts
from nowcast.core.comparison.statistics.verdict import RULE
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column
from nowcast.core.settings import RunSettings
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.evaluate import evaluate, evaluate_blocks
from tests.core.toy import SAMPLES, ToyTask


class Times(nn.Module):
    """The answer is 2; the reference says 1."""

    def __init__(self, factor: float, noise: float = 0.0) -> None:
        super().__init__()
        self.factor, self.noise = factor, noise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x + self.noise * torch.sin(1000 * x)


@pytest.fixture
def task() -> ToyTask:
    return ToyTask(RunSettings.model_validate({"task": "toy", "train": {"batch_size": 5}}))


def scored(task: ToyTask, **models: nn.Module) -> Board:
    everyone = {"identity": task.baseline("identity"), **models}
    parts = {
        name: evaluate_blocks(task, model, "test", Ranks(), torch.device("cpu"))
        for name, model in everyone.items()
    }
    return Board(task, parts, {"samples": SAMPLES, "data": "toys"})


def test_blocks_together_are_the_split(task: ToyTask):
    board = scored(task, near=Times(1.9))
    assert list(board.parts["near"]) == task.block_names("test")
    assert len(task.block_names("test")) > 5
    whole = evaluate(task, Times(1.9), "test", Ranks(), torch.device("cpu"))
    assert board.scores["near"].values["error"] == pytest.approx(whole.values["error"], rel=1e-12)
    assert sum(int(sums["samples"][0]) for sums in board.parts["near"].values()) == SAMPLES


def test_skill_is_the_share_of_the_way_to_perfect(task: ToyTask):
    board = scored(task, perfect=Times(2), half=Times(1.5), opposite=Times(0))
    assert board.skill("identity") == {"error": 0}
    assert board.skill("perfect") == {"error": 1}
    assert board.skill("half")["error"] == pytest.approx(0.75, rel=1e-5)  # of a square
    assert board.skill("opposite")["error"] == pytest.approx(-3, rel=1e-5)


class Percent(ToyTask):
    """Scores in percent, as GLUE and ImageNet have them."""

    columns = (Column("hit", "Hit", "more", 1, perfect=100.0),)
    details = (
        Column("bias", "Bias", "one", 2, perfect=1.0),
        Column("size", "Size", "more", 2, perfect=None),
    )

    def read(self, sums: Sums) -> Scores:
        # The reference is 10 % right and half the size.
        share = float(sums["error"][0] / sums["samples"][0]) / self.scale
        values = {"hit": 100 - 90 * share, "bias": 1 + 0.5 * share**2, "size": 1e9 * share}
        return Scores(values, {}, "place", ())

    @property
    def scale(self) -> float:
        return float(self.x.double().square().mean())


def test_skill_of_percentages_and_of_what_is_best_at_one_is_on_the_page(
    task: ToyTask, tmp_path: Path
):
    board = scored(Percent(task.settings), near=Times(1.5), perfect=Times(2), worse=Times(0))
    assert board.scores["identity"].values["hit"] == pytest.approx(10)
    assert board.skill("near") == pytest.approx({"hit": 0.75, "bias": 1 - 1 / 16}, rel=1e-5)
    assert board.skill("perfect") == pytest.approx({"hit": 1, "bias": 1})
    assert board.skill("worse")["hit"] == pytest.approx(-3, rel=1e-5)
    write_leaderboard(board, tmp_path, {})
    text = (tmp_path / "leaderboard.md").read_text()
    assert "## Skill against identity" in text and "| Hit | 0.75 | 1.00 | -3.00 |" in text
    for name in ("leaderboard.md", "leaderboard.html"):
        said = (tmp_path / name).read_text()
        assert "Skill score: 0 at the reference, 1 for a perfect forecast" in said
    rows = json.loads((tmp_path / "leaderboard.json").read_text())
    assert (
        rows[1]["skill"]["hit"] == pytest.approx(0.75, rel=1e-5) and "size" not in rows[1]["skill"]
    )


class Spread(ToyTask):
    """Scores of which one forecaster lacks some, as those without members do."""

    details = (
        Column("absolute", "Absolute error", "less", 2, perfect=0.0, tested=True),
        Column("coverage", "Coverage", "level", 2, perfect=0.9),
        Column("never", "Never", "more", 2, perfect=None),
    )

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        error = float(sums["error"][0] / sums["samples"][0])
        return {"error": error, "absolute": error**0.5}


def test_a_detail_that_some_lack_is_shown_and_one_that_is_tested_tells_apart(
    task: ToyTask, tmp_path: Path
):
    made = Spread(task.settings)

    def read(name: str, sums: Sums) -> Scores:
        return Scores({**made.read_columns(sums), **({"coverage": 0.8} if name == "near" else {})})

    board = replace(scored(made, near=Times(1.9), far=Times(1.5)), read_as=read)
    assert [column.score for column in board.details] == ["absolute", "coverage"]
    assert board.skill("near")["coverage"] is None  # the reference has none
    found = {(each.one, each.other, each.score) for each in board.differences}
    assert {score for *_, score in found} == {"error", "absolute"}
    write_leaderboard(board, tmp_path, {})
    table = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    assert [row["coverage"] for row in table] == ["", "0.8", ""]
    text = (tmp_path / "leaderboard.md").read_text()
    assert re.search(r"\| Coverage → 0\.9 \| – \| 0\.80.* \| – \|", text)
    assert any(line.startswith("Absolute error ↓: near;") for line in verdicts(board))


def test_what_is_written(task: ToyTask, tmp_path: Path):
    board = scored(task, near=Times(1.9, 0.01), alike=Times(1.9, -0.01))
    picture = tmp_path / "pictures" / "one.gif"
    picture.parent.mkdir()
    picture.write_bytes(b"GIF89a")
    write_leaderboard(board, tmp_path, {"an animation": picture})

    rows = json.loads((tmp_path / "leaderboard.json").read_text())
    assert [row["forecaster"] for row in rows] == ["identity", "near", "alike"]
    assert rows[1]["samples"] == SAMPLES
    assert rows[1]["error"] == board.scores["near"].values["error"]
    assert rows[1]["skill"]["against"] == "identity" and rows[1]["skill"]["error"] > 0.9
    blocks = [scores.values["error"] for scores in board.by_block["near"].values()]
    assert rows[1]["support"]["blocks"] == len(blocks)
    assert rows[1]["mean_over_blocks"]["error"] == pytest.approx(np.mean(blocks))

    table = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    assert float(table[2]["error"]) == rows[2]["error"]
    pairs = list(csv.DictReader((tmp_path / "differences.csv").read_text().splitlines()))
    verdicts = {(pair["one"], pair["other"]): pair["verdict"] for pair in pairs}
    assert verdicts == {
        ("identity", "near"): "worse",
        ("identity", "alike"): "worse",
        ("near", "alike"): "not distinguishable",
    }

    assert r"near & \textbf{" in (tmp_path / "table.tex").read_text().replace("alike", "near")
    text = (tmp_path / "leaderboard.md").read_text()
    assert "# Leaderboard on toys" in text
    assert "![an animation](pictures/one.gif)" in text
    assert "| Score | identity | near | alike |" in text and "| Error again → 1 | " in text
    best = min(("near", "alike"), key=lambda name: board.scores[name].values["error"])
    other = "alike" if best == "near" else "near"
    assert f"| Error ↓ | {best} | {other} |" in text
    page = (tmp_path / "leaderboard.html").read_text()
    assert "Against identity" in page and "data:image/gif" in page


def made(task: ToyTask, errors: Mapping[str, Sequence[float]]) -> Board:
    """Of forecasters with these errors in their blocks."""
    parts = {
        name: {
            f"block {place}": Sums({"error": np.array([error]), "samples": np.array([1])})
            for place, error in enumerate(own)
        }
        for name, own in errors.items()
    }
    return Board(task, parts, {"data": "toys"})


def test_a_leaderboard_and_a_comparison_of_the_same_samples_have_the_same_verdicts(
    task: ToyTask, tmp_path: Path
):
    """Flow is worse by its interval alone, and after Holm over all pairs not distinguishable."""
    still = np.array([4.0, 5.0, 6.0, 4.5, 5.5, 6.5, 5.0, 4.0])
    flow = still + np.array([0.9, 0.1, 0.8, -0.2, 0.7, 0.3, -0.1, 0.9])
    rng = np.random.default_rng(1)
    others = {name: still + rng.normal(size=8) for name in ("a", "b", "c")}
    board = made(task, {"identity": still, "flow": flow, **others})
    found = board.difference("flow", "identity", "error")
    assert 0 < found.low < found.high and found.p < 0.05 < found.p_holm and found.family == 10
    assert found.verdict == "not distinguishable"
    compared = contrasts(board.table, board.differences)
    assert len(compared) == 10
    for each in compared:
        same = board.difference(each.one, each.other, "error")
        assert each.over_blocks == same.verdict
    write_leaderboard(board, tmp_path, {})
    text = (tmp_path / "leaderboard.md").read_text()
    assert (
        f"<br>not distinguishable<br>p = {found.p_holm:.2g} ({found.p:.2g} uncorrected) |" in text
    )
    (note,) = as_sections(compared, {"flow": Reference("identity", "the first baseline")})
    page = (tmp_path / "leaderboard.html").read_text()
    assert RULE in text and html.escape(RULE) in page.replace("&#39;", "&#x27;")
    assert RULE in note.note and "not distinguishable over blocks" in note.sentences[0]
    rows = csv.DictReader((tmp_path / "differences.csv").read_text().splitlines())
    assert {r["verdict"] for r in rows if "flow" in (r["one"], r["other"])} >= {
        "not distinguishable"
    }
    assert verdicts(board)[-1].startswith("not distinguishable: p > 0.05 after Holm over all pairs")
    alone = made(task, {"identity": still, "flow": flow}).difference("flow", "identity", "error")
    assert (alone.p, alone.family, alone.verdict) == (found.p, 1, "worse")  # as the rule says


def test_forecasters_that_are_the_same_are_not_distinguishable(task: ToyTask):
    same = made(task, {name: [1.0, 2.0, 3.0, 4.0, 5.0] for name in ("identity", "flow")})
    assert same.difference("flow", "identity", "error").verdict == "not distinguishable"
    (found,) = contrasts(same.table, same.differences)
    assert found.over_blocks == "not distinguishable"


def test_one_alone_has_no_differences(task: ToyTask, tmp_path: Path):
    write_leaderboard(scored(task), tmp_path, {})
    assert (tmp_path / "differences.csv").read_text() == ""
    assert "identity" in (tmp_path / "leaderboard.md").read_text()


def test_too_few_blocks_claim_nothing(task: ToyTask, tmp_path: Path, monkeypatch):
    names = ["all of it"]
    monkeypatch.setattr(ToyTask, "block_names", lambda self, split: names)
    monkeypatch.setattr(ToyTask, "blocks", lambda self, split, batch: names * len(batch.x))
    write_leaderboard(scored(task, near=Times(1.9)), tmp_path, {})
    text = (tmp_path / "leaderboard.md").read_text()
    assert "1 of at least 5 blocks" in text
    assert "Which is best" not in text and " to " not in text.split("Against")[1].split("\n\n")[1]
