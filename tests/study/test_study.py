"""The study of MEmeL: its cells are what the protocol says, and its effects those of made runs."""

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nowcast.core.scoring.sums import Sums
from nowcast.core.settings import CompareSettings
from nowcast.core.storage.yaml_files import loads
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import write_frame, write_mask
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.verification.scores import COUNTS
from scripts.study import coarse, design, effects, outcomes, page, premise
from scripts.study.coarse import ABROAD
from scripts.study.design import CELLS, PRIMARY, Cell
from scripts.study.outcomes import Outcome, Row

BASE = loads(design.BASE.read_text())


def test_cells_differ_in_what_their_names_say(tmp_path: Path):
    primary = design.config(PRIMARY, 3, BASE, tmp_path)
    assert {key: primary[key] for key in ("model", "optim", "train")} == {
        key: BASE[key] for key in ("model", "optim", "train")
    }
    assert primary["compare"] == {**BASE["compare"], "seeds": [3]}
    assert len({cell.name for cell in CELLS}) == len(CELLS)
    for cell in CELLS:
        made = design.config(cell, 0, BASE, tmp_path)
        compare = CompareSettings.model_validate(made["compare"])
        hidden = [stage["hidden"] for stage in made["model"]["stages"]]
        assert hidden == [32 * cell.width, 64 * cell.width]
        assert made["train"]["steps"] == cell.steps == made["train"]["validate_every"]
        for name, variant in compare.variants.items():
            assert ("start_from" in variant.model_fields_set) == name.startswith("T-")
            if name.startswith("T-"):
                assert variant.set["train.steps"] == cell.steps // 4
        for stage, methods in (("P", design.METHODS), ("T", design.METHODS)):
            assert {f"{stage}-{name}" for name in ("Original", *methods)} <= set(compare.variants)


def test_other_radars_are_the_middle_of_their_frames_in_means_of_blocks(tmp_path: Path):
    abroad = next(each for each in ABROAD if each.name == "knmi_2010")
    rng = np.random.default_rng(0)
    description = Description("made", "nobody", 5, 300, 280, 200.0, 1.6)
    moments = np.datetime64("2010-08-26T00:00", "m") + 5 * np.arange(3)
    root = tmp_path / abroad.name
    levels = rng.integers(0, 200, (3, 300, 280)).astype(np.uint8)
    mask = np.ones((300, 280), dtype=bool)
    mask[22 + 4 : 22 + 8, 12:16] = False  # a block of the middle
    for moment, frame in zip(moments, levels, strict=True):
        write_frame(root, moment, frame)
        write_mask(root, moment, mask)
    (root / "archive.json").write_text(description.to_json())
    assert coarse.made(abroad, tmp_path, tmp_path / "out") == tmp_path / "out" / abroad.name
    made = Archive(tmp_path / "out" / abroad.name)
    assert (made.moments == moments).all() and made.shape == (64, 64)
    assert list(made.days["valid"]) == ["20100826"] and not made.days["train"]
    expected = np.ones((64, 64), dtype=bool)
    expected[1, 0] = False
    rates = description.calibration.rate_by_level()
    for moment, frame in zip(moments, levels, strict=True):
        assert (made.mask(moment) == expected).all()
        middle = rates[frame][22:278, 12:268].reshape(64, 4, 64, 4).mean((1, 3))
        level = description.calibration.pixel_from_rate(middle) * 255
        assert np.abs(made.frame(moment) - level)[expected].max() <= 0.51
    assert coarse.made(abroad, tmp_path, tmp_path / "out") is not None  # not made again
    assert coarse.made(ABROAD[0], tmp_path, tmp_path / "out") is None


def outcome(rng: np.random.Generator, **means: float) -> Outcome:
    """Ten seeds that share what each adds, and differ by a tenth of a per cent."""
    shared = rng.normal(0, 0.1, 10)
    return {
        name.replace("_", "-"): {
            seed: mean + shared[seed] + rng.normal(0, 0.001) for seed in range(10)
        }
        for name, mean in means.items()
    }


def test_verdicts_of_effects_that_are_known():
    values = outcome(np.random.default_rng(0), P_Original=5, P_MEmeL=4.98, P_share=5.03)
    values["P-penalty"] = {
        seed: value + 0.001 * (-1) ** seed for seed, value in values["P-Original"].items()
    }
    found = effects.against_original("H2", "cell", "P", "home", values)
    assert [each.method for each in found] == ["MEmeL", "share", "penalty"]
    assert [each.verdict for each in found] == ["lower", "higher", "no effect (within 0.5 %)"]
    assert found[0].mean == pytest.approx(-2, abs=0.2) and found[0].seeds == 10
    for each in found:
        low, high = stats.t.interval(
            0.95, 9, each.mean, (each.high - each.mean) / stats.t.ppf(0.975, 9)
        )
        assert (each.low, each.high) == pytest.approx((low, high))
        assert each.low < each.low90 < each.mean < each.high90 < each.high
        assert each.p <= each.p_holm
    small = outcome(np.random.default_rng(3), P_Original=5, P_MEmeL=4.997)
    (one,) = effects.against_original("H2", "cell", "P", "home", small)
    assert one.verdict == "lower, by less than 0.5 %"
    wide = {
        name: {seed: value + (-1) ** seed * (name == "P-share") for seed, value in of.items()}
        for name, of in values.items()
    }
    assert effects.against_original("H2", "c", "P", "home", wide)[1].verdict == "cannot be told"
    lines = list(csv.DictReader(io.StringIO(effects.as_csv(found))))
    assert float(lines[0]["mean"]) == pytest.approx(found[0].mean, rel=1e-3)


def test_slopes_are_per_doubling():
    rng, cells = np.random.default_rng(1), effects.WIDTHS
    assert [cell.width for cell in cells] == [1.0, 0.25, 0.5]
    errors = [
        outcome(
            rng,
            P_Original=5,
            P_MEmeL=5 - 0.01 * (math.log2(cell.width) + 2),
            P_share=5,
            P_penalty=5.1,
        )
        for cell in cells
    ]
    found = {each.method: each for each in effects.slopes("width", cells, errors)}
    assert found["MEmeL"].mean == pytest.approx(-1, abs=0.1)
    assert found["MEmeL"].verdict == "lower" and found["penalty"].verdict != "lower"


def test_methods_are_set_against_the_sham_of_their_size():
    values = outcome(
        np.random.default_rng(2),
        P_Original=5,
        P_MEmeL=4.98,
        P_share=4.98,
        P_penalty=5,
        **{"P_sham": 4.98, "P_sham-share": 5, "P_opposite": 5},
    )
    found = {(each.method, each.against): each.verdict for each in effects.shams("c", values)}
    assert found["sham", "Original"] == "lower"
    assert found["MEmeL", "sham"] == "no effect (within 0.5 %)"
    assert found["share", "sham-share"] == "lower"


def test_a_trial_has_few_steps_and_two_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    design.main(tmp_path, tmp_path / "out", tmp_path / "results", 4)
    names = capsys.readouterr().out.split()
    assert names == [f"{cell.name}/seed{seed}" for cell in CELLS for seed in range(2)]
    made = loads((tmp_path / "out" / f"{names[1]}.yaml").read_text())
    assert made["train"]["steps"] == 4 and made["compare"]["seeds"] == [1]
    assert Cell(1.0, 800, 10).name == PRIMARY.name


def test_what_a_table_has_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [Row("P-Original", seed, {"home": 0.1 + seed, "top_phi": 2.5}) for seed in (0, 3)]
    rows.append(Row("P-MEmeL", 3, {"home": 1 / 3}))
    outcomes.write(tmp_path / PRIMARY.file, rows)
    read = outcomes.read(tmp_path / PRIMARY.file)
    assert [(row.seed, row.variant) for row in read] == [
        (0, "P-Original"),
        (3, "P-MEmeL"),
        (3, "P-Original"),
    ]
    assert outcomes.of_column(read, "home")["P-MEmeL"][3] == pytest.approx(math.log(1 / 3), 1e-7)
    assert outcomes.of_column(read, "top_phi").keys() == {"P-Original"}
    design.main(tmp_path, tmp_path / "out", tmp_path)
    found = [name for name in capsys.readouterr().out.split() if name.startswith(PRIMARY.name)]
    assert found == [f"{PRIMARY.name}/seed{seed}" for seed in range(20) if seed not in (0, 3)]


def test_the_error_abroad_is_a_mean_over_archives_of_a_radar_then_over_radars():
    logs = {each.name: float(place) for place, each in enumerate(ABROAD)}
    values = {outcomes.AWAY + name: math.exp(value) for name, value in logs.items()}
    radars = {each.radar for each in ABROAD}
    means = [
        np.mean([logs[each.name] for each in ABROAD if each.radar == radar]) for radar in radars
    ]
    found = outcomes.away([Row("P-share", 1, values)])
    assert found["P-share"][1] == pytest.approx(np.mean(means)) != np.mean(list(logs.values()))


def test_the_premise_is_read_from_audits(tmp_path: Path):
    audited = [
        {"stands_out": True, "increase": 0.01, "loss": 1.0},
        {"stands_out": True, "increase": 0.03, "loss": 0.5},
        {"stands_out": False, "increase": 9.0, "loss": 1.0},
    ]
    (tmp_path / "neurons.json").write_text(json.dumps({"rows": audited}))
    assert outcomes.rise(tmp_path / "neurons.json") == {"silenced": 2, "rise_percent": 3.5}
    (tmp_path / "neurons.json").write_text(json.dumps({"rows": audited[2:]}))
    assert outcomes.rise(tmp_path / "neurons.json") == {"silenced": 0}
    for cell in effects.WIDTHS:
        values = [2 / cell.width, 2.1 / cell.width, 2.2 / cell.width]
        rows = [Row("P-Original", seed, {"rise_percent": of}) for seed, of in enumerate(values)]
        outcomes.write(tmp_path / cell.file, [*rows, Row("P-Original", 3, {"home": 1.0})])
    by_width = premise.rises(tmp_path)
    assert list(by_width) == [0.25, 0.5, 1.0] and len(by_width[0.5]) == 3
    told = premise.slope(by_width)
    assert told is not None and told.mean == pytest.approx(-3.15, abs=0.01)  # about 8, 4, 2 %
    assert "per doubling" in premise.sentence(told)
    assert "too few" in premise.sentence(premise.slope({0.25: {0: 1.0}, 0.5: {}, 1.0: {0: 1.0}}))


@pytest.mark.parametrize(("spread", "count"), [(0.1, 10), (0.5, 13), (2.0, 20)])
def test_the_primary_cell_has_the_seeds_that_its_spread_asks_for(spread: float, count: int):
    apart = np.array([-1, 1, -1, 1, 0]) * spread / 100  # standard deviation: the spread, per cent
    values = {"P-Original": dict.fromkeys(range(6), 5.0)}
    for name in ("share", "penalty"):
        values[f"P-{name}"] = dict(values["P-Original"])
    values["P-MEmeL"] = {seed: 5.0 + by for seed, by in enumerate((*apart, 1.0))}
    assert effects.seeds_needed(values) == count
    if count < 20:
        assert stats.t.ppf(0.95, count - 1) * spread / math.sqrt(count) <= 0.25


def sums(clips: int, error: float) -> Sums:
    """Of so many clips with that B-MSE and B-MAE at each of two lead times."""
    each = np.full(2, clips * error)
    counts = {name: np.zeros((5, 2), dtype=np.int64) for name in COUNTS}
    errors = dict.fromkeys(("b_mse", "b_mae", "mse", "mae"), each)
    return Sums({"clips": np.array(clips), "pixels": np.full(2, 9 * clips), **errors, **counts})


def test_blocks_add_up_to_the_error_at_home_and_to_the_effect():
    of_original = outcomes.at_home({"a": sums(1, 3.0), "b": sums(3, 5.0)})
    assert of_original == pytest.approx({"home": 9.0, "home/a": 1.5, "home/b": 7.5})
    of_method = outcomes.at_home({"a": sums(1, 3.0), "b": sums(3, 4.0)})
    rows = [Row("P-Original", 0, of_original), Row("P-share", 0, of_method)]
    found = outcomes.by_block(rows, "P-share", "P-Original")
    assert np.mean(found) == pytest.approx(100 * (of_method["home"] / 9 - 1))
    assert found[0] > found[1]
    alike = [Row("P-share", 0, {key: 0.98 * value for key, value in of_original.items()})]
    assert outcomes.by_block([*alike, rows[0]], "P-share", "P-Original") == pytest.approx([-2, -2])


def made_tables(folder: Path, cells: Sequence[Cell], seeds: int) -> None:
    """As of runs in which share helps by 2 % and nothing else does anything."""
    rng = np.random.default_rng(4)
    for cell in cells:
        rows = []
        for seed in range(seeds):
            shared = rng.normal(0, 0.02)
            for method in ("Original", *design.METHODS, "sham"):
                for stage in ("P", "T"):
                    error = 300 * math.exp(shared - 0.02 * (method == "share"))
                    error *= math.exp(rng.normal(0, 0.0005))
                    values = {"home": error, "home/a": error / 4, "home/b": 3 * error / 4}
                    values |= {outcomes.AWAY + each.name: error for each in ABROAD}
                    if stage == "P":
                        values["top_phi"] = 5 - (method == "share") + 0.1 * rng.random()
                    if (stage, method) == ("P", "Original"):
                        values["rise_percent"] = 4 / cell.width + rng.random()
                    rows.append(Row(f"{stage}-{method}", seed, values))
        outcomes.write(folder / cell.file, rows)


def test_the_page_says_what_the_tables_do_and_no_more(tmp_path: Path):
    made_tables(tmp_path, CELLS, 20)
    text = page.page(tmp_path)
    assert "share in pretraining: lower, -2." in text
    assert "MEmeL in pretraining: no effect (within 0.5 %), " in text
    assert "per doubling of the width" in text and "not finished" not in text
    for cell in CELLS:
        assert f"[{cell.name}]({cell.name}.csv) | 20 |" in text
    for name in re.findall(r"\]\((\S+\.svg)\)", text):
        assert b"<svg" in (tmp_path / name).read_bytes()
    few = tmp_path / "few"
    made_tables(few, [PRIMARY], 4)
    text = page.page(few)
    assert "so there is no verdict yet" in text and "In words" not in text
    assert not list(few.glob("*.svg"))
    assert "| 4 | 20 |" in text
