import json
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


def test_reliability_is_pooled_over_pixels(tmp_path: Path):
    tables = {"dwd": ([6, 0, 2], [0.0, None, 1.0]), "meteoswiss": ([2, 4, 0], [0.5, 0.25, None])}
    for archive, (cases, observed) in tables.items():
        of = {"probability": [0, 0.5, 1], "cases": cases, "observed": observed}
        folder = tmp_path / "boards" / archive
        folder.mkdir(parents=True)
        both = {name: {"reliability": {"5": of}} for name in (MEMBERS, members.STEPS)}
        (folder / "ensembles.json").write_text(json.dumps(both))
        (tmp_path / f"{archive}.json").write_text("{}")
    found = members.pooled(tmp_path)[MEMBERS]["reliability"]["5"]
    assert found["cases"] == [8, 4, 2] and found["observed"] == [1 / 8, 1 / 4, 1]
