import math
from pathlib import Path

import pytest

from nowcast.core.storage.files import write_json
from scripts.release import members
from scripts.release.recipe import MEMBERS
from scripts.release.scores import read


def document(scale: float) -> dict[str, object]:
    blocks = {"a": 0.2 * scale, "b": 0.4 * scale, "dry": 0.0}
    return {
        "error": 100.0,
        "by_block": blocks,
        "crps_mm_h": 0.3 * scale,
        "crps_pixel": 0.03,
        "crps_mm_h_by_block": blocks,
        "crps_pixel_by_block": {"a": 0.03, "b": 0.03 * scale, "dry": None},
        **dict.fromkeys(members.CALIBRATION, 0.9),
        "reliability_gap/10": None,
    }


def test_crps_beside_steps_by_archive_and_over_blocks(tmp_path: Path):
    forecasters = {MEMBERS: document(0.8), members.STEPS: document(1.0)}
    write_json(tmp_path / "dwd.json", {"asked": {}, "facts": {}, "forecasters": forecasters})
    scored = read(tmp_path)
    assert members.ratio(scored[0], "crps_mm_h") == pytest.approx(0.8)
    middle, low, high, count = members.over_blocks(scored, "crps_mm_h")
    assert (middle, low, high, count) == (
        *(pytest.approx(0.8),) * 3,
        2,  # a dry block has no ratio
    )
    middle, low, high, count = members.over_blocks(scored, "crps_pixel")
    assert middle == pytest.approx(math.sqrt(0.8)) and low < 0.8 < 1 < high and count == 2
    table = "\n".join(members.lines(scored))
    assert "dwd: crps_mm_h 0.800  crps_pixel 1.000" in table
    assert "reliability_gap/10 – (–)" in table
