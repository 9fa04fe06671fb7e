"""Events are counted on a GPU as in C on a CPU: exactly."""

import torch

from nowcast.precipitation.forecasters.graph import example_frames, example_mask
from nowcast.precipitation.units import Calibration
from nowcast.precipitation.verification.tally import tally


def test_counts_are_equal_and_errors_nearly(gpu: torch.device):
    both = example_frames(6)(8, 96, 96)
    prediction, truth = both[:, :3], both[:, 3:]
    mask = example_mask(3)(8, 96, 96)
    expected = tally(prediction, truth, mask, Calibration())
    found = tally(prediction.to(gpu), truth.to(gpu), mask.to(gpu), Calibration())
    assert int(expected.hits.sum()) > 1000
    for name in ("valid", "hits", "observed", "warned"):
        assert torch.equal(getattr(found, name).cpu(), getattr(expected, name)), name
    torch.testing.assert_close(found.errors.cpu(), expected.errors, rtol=1e-12, atol=0)
