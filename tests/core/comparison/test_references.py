"""Each variant is set against the one that differs least, and the page says why."""

from typing import Any

import pytest
from pydantic import ValidationError

from nowcast.core.comparison.references import Descent, references
from nowcast.core.settings import CompareSettings


def config(cell: str = "gru", memel: dict[str, Any] | None = None, **train: Any) -> dict[str, Any]:
    return {
        "train": {"seed": 0, "steps": 10} | train,
        "model": {"cell": cell, "hidden": 8},
        "memel": memel,
        "start_from": None,
    }


ON = {"delta": 1.0, "top_k": 1}
CELLS = {
    "ConvGRU": config(),
    "ConvGRU-MEmeL": config(memel=ON),
    "ConvLSTM": config("lstm"),
    "ConvLSTM-MEmeL": config("lstm", ON),
}


def chosen(
    configs: dict[str, dict[str, Any]],
    parents: dict[str, str | None] | None = None,
    names: list[str] | None = None,
    **more: Any,
) -> dict[str, str]:
    descent = Descent(parents or dict.fromkeys(configs), configs, **more)
    found = references(descent, names or ["persistence", *configs])
    return {name: reference.name for name, reference in found.items()}


def test_each_cell_with_memel_is_set_against_the_same_cell_without():
    assert chosen(CELLS) == {
        "ConvGRU": "persistence",
        "ConvGRU-MEmeL": "ConvGRU",
        "ConvLSTM": "ConvGRU",
        "ConvLSTM-MEmeL": "ConvLSTM",
    }
    found = references(Descent(dict.fromkeys(CELLS), CELLS), list(CELLS))
    assert found["ConvLSTM-MEmeL"].why == "they differ in memel alone"
    assert found["ConvLSTM"].why == "it differs least, in model.cell"


@pytest.mark.parametrize("order", [[1, 0, 3, 2], [3, 2, 1, 0], [0, 2, 1, 3]])
def test_wherever_they_are_listed(order: list[int]):
    names = [list(CELLS)[place] for place in order]
    found = chosen({name: CELLS[name] for name in names})
    assert found["ConvGRU-MEmeL"] == "ConvGRU"
    assert found["ConvLSTM-MEmeL"] == "ConvLSTM"
    assert "MEmeL" not in found["ConvGRU"] + found["ConvLSTM"]


def test_a_sweep_of_memel_is_set_against_the_plain_one():
    sweep = {f"top {k}": config(memel=ON | {"top_k": k}) for k in (1, 5, 10)}
    found = chosen({"Original": config(), **sweep})
    assert {found[name] for name in sweep} == {"Original"}
    without = chosen(sweep)
    assert without == {"top 1": "persistence", "top 5": "top 1", "top 10": "top 1"}


def test_without_its_plain_one_it_is_the_nearest_other():
    names = ("ConvGRU", "ConvGRU-MEmeL", "ConvLSTM-MEmeL")
    found = chosen({name: CELLS[name] for name in names})
    assert found["ConvLSTM-MEmeL"] == "ConvGRU-MEmeL"


def test_fewer_other_keys_before_the_first_in_the_list():
    wide = config("lstm")
    wide["model"]["hidden"] = 16
    found = chosen({"A": config(), "B": config("lstm"), "C": wide})
    assert found["C"] == "B"


PAIRS = {
    "P-Original": None,
    "P-MEmeL": None,
    "T-Original": "P-Original",
    "T-MEmeL": "P-MEmeL",
}


def test_fine_tuned_ones_are_set_against_a_fine_tuned_one_of_the_plain_line():
    fine = config(steps=3)
    configs = {"P-Original": config(), "P-MEmeL": config(memel=ON), "T-Original": fine}
    configs["T-MEmeL"] = fine  # MEmeL was at work in pretraining alone
    expected = {
        "P-Original": "persistence",
        "P-MEmeL": "P-Original",
        "T-Original": "P-Original",
        "T-MEmeL": "T-Original",
    }
    assert chosen(configs, PAIRS) == expected
    found = references(Descent(PAIRS, configs), list(configs))
    assert found["T-MEmeL"].why == "they differ in memel alone, at an earlier stage"
    assert "P-Original" not in found  # without a baseline


def test_fine_tuning_two_networks_pairs_each_with_its_own():
    parents, configs = {}, {}
    for cell in ("gru", "lstm"):
        for name, memel in (("Original", None), ("MEmeL", ON)):
            parents[f"P-{cell}-{name}"] = None
            configs[f"P-{cell}-{name}"] = config(cell, memel)
    for cell in ("gru", "lstm"):
        for name in ("MEmeL", "Original"):
            parents[f"T-{cell}-{name}"] = f"P-{cell}-{name}"
            configs[f"T-{cell}-{name}"] = config(cell, steps=3)
    found = chosen(configs, parents)
    assert found["T-lstm-MEmeL"] == "T-lstm-Original"
    assert found["T-gru-MEmeL"] == "T-gru-Original"
    assert found["T-lstm-Original"] == "T-gru-Original"
    assert found["T-gru-Original"] == "P-gru-Original"


def test_the_config_may_say_which():
    stated = {"ConvLSTM-MEmeL": "ConvGRU-MEmeL", "ConvGRU": "flow"}
    names = ["persistence", "flow", *CELLS]
    found = chosen(CELLS, names=names, stated=stated)
    assert (found["ConvLSTM-MEmeL"], found["ConvGRU"]) == ("ConvGRU-MEmeL", "flow")
    assert found["flow"] == "persistence"  # baselines are compared too
    gone = references(Descent(dict.fromkeys(CELLS), CELLS, stated={"ConvGRU-MEmeL": "X"}), names)
    assert gone["ConvGRU-MEmeL"].name == "ConvGRU"
    assert gone["ConvGRU-MEmeL"].why.endswith("X, which the config names, has no row here")


def test_what_scores_the_runs_of_another_is_set_against_that():
    parents = {"M": None, "M-eval": "M"}
    configs = {"M": config(memel=ON), "M-eval": config(memel=ON | {"in_eval": True})}
    assert chosen(configs, parents, same_runs=["M-eval"])["M-eval"] == "M"
    # Where the trained one has no row, it stands in its place.
    parents |= {"Original": None}
    configs |= {"Original": config()}
    names = ["persistence", "M-eval", "Original"]
    assert chosen(configs, parents, names, same_runs=["M-eval"]) == {
        "M-eval": "Original",
        "Original": "persistence",
    }


@pytest.mark.parametrize("name", ["B", "A", "hidden", "nosuch"])
def test_a_reference_has_a_row_and_is_another(name: str):
    variants = {"A": {"reference": name}, "hidden": {"scored": False}, "B": {}}
    content = {"variants": variants, "baselines": ["persistence"]}
    if name == "B":
        assert CompareSettings.model_validate(content).variants["A"].reference == "B"
        return
    with pytest.raises(ValidationError, match=r"A.reference: .* one of persistence, B, found"):
        CompareSettings.model_validate(content)
