"""Ratios to the best forecaster that learns nothing; what MEmeL does over seeds; cards."""

import math
from pathlib import Path
from typing import Any

import pytest

from nowcast.core.errors import ConfigError
from scripts.release import card, memel, pieces, scores
from scripts.release.recipe import ALL, HALVES, OPEN
from scripts.release.scores import Scored
from scripts.release.sources import SOURCES, Source
from tests import ROOT

OF = {source.name: source for source in SOURCES}

ASKED = {"days": ["20180519", "20180520"]}


def scored(source: Source, mine: float, csi: float = 0.5, **unlearned: float) -> Scored:
    def of(error: float, csi: float = 0.4) -> dict[str, Any]:
        matched = {f"csi_matched/{threshold}": csi for threshold in card.MATCHED}
        bias = {f"bias/{threshold}": 1.3 for threshold in card.BIASES}
        blocks = {"first": 0.5 * error, "second": 1.5 * error}
        return {"error": error, "by_block": blocks, "spectrum/4": 0.3, **matched, **bias}

    others = {"persistence": 9.0, "flow": 8.0, "extrapolation": 8.0, "sprog": 8.0, **unlearned}
    forecasters = {name: of(error) for name, error in others.items()}
    forecasters |= {"mine": of(mine, csi), ALL: of(mine, csi), OPEN: of(mine, csi)}
    facts = {"clips": 4, "blocks": 2}
    return Scored(source, (10, 10), {"forecasters": forecasters, "facts": facts, "asked": ASKED})


def test_the_ratio_is_to_the_best_that_learns_nothing():
    found = scored(OF["dwd"], 6.0, flow=7.5)
    assert found.best == "flow"
    assert found.ratio("mine") == pytest.approx(0.8)
    assert found.log_ratios("mine") == pytest.approx([math.log(0.8)] * 2)


def test_a_radar_of_many_archives_counts_once():
    tiles = [scored(source, 4.0) for source in SOURCES if source.radar == "MRMS"]
    found = [scored(OF["dwd"], 8.0), *tiles]
    assert scores.by_radar(found, "mine") == pytest.approx({"DWD": 1.0, "MRMS": 0.5})


def test_over_blocks():
    found = [scored(OF["dwd"], 8.0), scored(OF["meteoswiss"], 4.0)]
    middle, low, high, count = scores.over_blocks(found, "mine")
    assert count == 4
    assert middle == pytest.approx(math.sqrt(0.5))
    # Logarithms 0, 0, -a, -a: deviation a / sqrt(3), t of 3 degrees 3.182.
    far = 3.1824 * math.log(2) / math.sqrt(3) / 2
    assert (low, high) == pytest.approx((middle * math.exp(-far), middle * math.exp(far)), rel=1e-4)


def test_the_effect_of_memel_is_over_seeds():
    plain = {str(seed): 100.0 for seed in range(5)}
    better = {str(seed): 100.0 * (0.98 + 0.004 * (seed - 2)) for seed in range(5)}
    errors = {"a": {"Original": plain, "MEmeL": better}, "b": {"Original": plain, "MEmeL": plain}}
    found = memel.effect(errors)
    assert found.seeds == 5
    assert found.mean == pytest.approx(-1.0, abs=0.02)
    assert found.low < found.mean < found.high < 0 and found.p < 0.05
    assert "It helps" in card.in_words({"both": found, "west": found})
    none = memel.effect(
        {"a": {"Original": plain, "MEmeL": {s: 100 + (-1) ** int(s) for s in plain}}}
    )
    assert none.low < 0 < none.high
    assert "No effect can be told" in card.in_words({"both": none, "west": none})


def test_a_card_says_what_was_not_measured(tmp_path: Path):
    effects = memel.read(tmp_path)
    assert effects is None
    for text in (card.in_words(effects), card.without(tmp_path, ALL), card.more_days(tmp_path)):
        assert text == card.NOT_MEASURED


def test_a_half_is_scored_on_radar_that_it_has_not_seen(tmp_path: Path):
    for source in SOURCES:
        (tmp_path / source.name / "radarPNG" / "2016" / "01" / "01").mkdir(parents=True)
    for half, of in HALVES.items():
        found = [source.radar for source in memel.unseen(half, tmp_path)]
        assert "MeteoSwiss" in found and not set(found) & set(of)
        assert len(set(found)) >= 3 and max(found.count(radar) for radar in found) <= 2
        (tmp_path / "meteoswiss").rename(tmp_path / "elsewhere")
        assert "MeteoSwiss" not in [source.radar for source in memel.unseen(half, tmp_path)]
        (tmp_path / "elsewhere").rename(tmp_path / "meteoswiss")


def test_a_card_says_what_missed():
    good = scored(OF["dwd"], 6.0)
    assert not any("Worse than" in limit for limit in card.limits([good], [good], "mine"))
    bad = scored(OF["dwd"], 9.0, csi=0.3)
    found = " ".join(card.limits([good, bad], [bad], "mine"))
    assert "Worse than the best that learns nothing: DWD RADOLAN YW" in found
    assert "Worse than the best that learns nothing at 5 -> 20" in found
    assert "CSI after bias matching below optical flow's: 5 mm/h on DWD" in found
    assert "1.30 at 0.5 mm/h" in found


def test_tables_have_a_row_an_archive():
    rows = card.errors([scored(OF["dwd"], 6.0), scored(OF["meteoswiss"], 7.0)], ALL)
    lines = rows.splitlines()
    assert len(lines) == 4
    assert "| 0.750 |" in lines[2] and "| 0.875 |" in lines[3]
    assert len({line.count("|") for line in lines}) == 1


def test_pages_keep_what_stands_around(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- weights -->\nold\n<!-- /weights -->\nafter\n")
    pieces.insert(page, "new")
    assert page.read_text() == "before\n<!-- weights -->\nnew\n<!-- /weights -->\nafter\n"
    (tmp_path / "bare.md").write_text("before\n<!-- /weights -->\n<!-- weights -->\n")
    with pytest.raises(ConfigError, match=r"bare.md: expected <!-- weights --> and after it"):
        pieces.insert(tmp_path / "bare.md", "new")
    for name in ("README.md", "docs/results.md"):
        text = (ROOT / name).read_text()
        assert text.count("<!-- weights -->") == text.count("<!-- /weights -->") == 1
    text = (ROOT / "docs" / "probabilities.md").read_text()
    assert text.count("<!-- calibration -->") == text.count("<!-- /calibration -->") == 1


def test_no_number_is_no_error_of_nothing():
    assert scores.error({"b_mse": 1.5, "b_mae": 2.0}) == 3.5
    with pytest.raises(ValueError, match="found a forecast that is not a number"):
        scores.error({"b_mse": None, "b_mae": 2.0})


def test_other_weights_of_the_same_name_are_scored_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[list[str]] = []

    def evaluated(forecasters: dict[str, str], *_: Any) -> None:
        asked.append(list(forecasters))

    monkeypatch.setattr(scores, "evaluated", evaluated)
    monkeypatch.setattr(scores, "_document", lambda *_: {"forecasters": {}, "facts": {}})
    (tmp_path / "dwd" / "radarPNG" / "2018" / "05" / "17").mkdir(parents=True)
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.safetensors").write_bytes(b"first")

    def score(**how: Any) -> int:
        scores.score({"mine": str(run)}, tmp_path, "valid", tmp_path / "out", **how)
        return len(asked)

    assert [score(), score()] == [1, 1]
    (run / "best.safetensors").write_bytes(b"second")
    assert [score(), score()] == [2, 2]
    assert score(clips=3) == 3 and score(frames=(5, 20)) == 4
    assert asked[0] == ["mine", "flow", "extrapolation", "sprog"]
