"""The yardsticks count what `score_frames` counts, else the timing would compare two things."""

import numpy as np
import pytest
import torch

from nowcast.core.errors import ConfigError
from nowcast.precipitation.units import Calibration
from nowcast.precipitation.verification.balance import BALANCING_WEIGHTS, pixel_thresholds
from nowcast.precipitation.verification.scores import COUNTS, score_frames
from scripts.bench import scores
from scripts.bench.benchmark import Asked
from tests.rain_fields import rain


@pytest.mark.parametrize("name", ["_arrays", "_loops"])
def test_both_yardsticks_score_alike(name: str):
    frames = rain(0, clips=2, leads=2, height=12, width=12, masked=0.2)
    thresholds = np.array(pixel_thresholds(Calibration()), np.float32)
    weights = np.array(BALANCING_WEIGHTS, np.float32)
    plain = getattr(scores, name)(*(values.numpy() for values in frames), thresholds, weights)
    ours = score_frames(*frames, Calibration())
    for kind, count in enumerate(COUNTS):
        assert np.array_equal(plain[0].sum(0)[..., kind].T, ours[count])
    np.testing.assert_allclose(plain[1].sum(0), ours["b_mse"], rtol=1e-5)
    np.testing.assert_allclose(plain[2].sum(0), ours["b_mae"], rtol=1e-5)


def test_measures_pairs_of_calls(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scores, "yardsticks", lambda: {"loops": scores._loops})
    threads = torch.get_num_threads()
    (row,) = scores.measure(Asked(batch=[1], threads=[1], pairs=2), leads=1, size=32)
    torch.set_num_threads(threads)
    assert (row["yardstick"], len(row["numba"]), len(row["nowcast"])) == ("loops", 2, 2)
    line, _, note = scores.BENCHMARK.table([row]).splitlines()[2:]
    assert line.startswith("| loops | 1 | ")
    assert note.startswith("nowcast counts in ")


def test_without_numba_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(scores.importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"memel-nowcast\[dev\]"):
        scores.yardsticks()
