"""What an audit leaves: every figure, and nothing that is no JSON."""

import json
from pathlib import Path

import cv2
import pytest

from nowcast.core.audit.files import write_inhibition
from nowcast.core.audit.inhibition import Inhibition, Mean

SURE = Mean(0.5, 0.4, 0.6)
UNDEFINED = Mean(float("nan"), float("nan"), float("nan"))


@pytest.mark.parametrize("decrease", [SURE, UNDEFINED])
def test_figures_come_back_and_what_is_undefined_is_null(tmp_path: Path, decrease: Mean):
    rows = [Inhibition(name, 12, 3, decrease, SURE, SURE) for name in ("Original", "Naive (a)")]
    write_inhibition(tmp_path / "new", rows, {"source": "first"})
    kept = json.loads((tmp_path / "new" / "inhibition.json").read_text())
    expected = None if decrease is UNDEFINED else 0.5
    assert [row["decrease"]["value"] for row in kept["methods"]] == [expected, expected]
    assert kept["methods"][1]["update"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert kept["source"] == "first"
    picture = cv2.imread(str(tmp_path / "new" / "inhibition.png"))
    assert picture.std() > 1 and picture.shape[1] > 1000
