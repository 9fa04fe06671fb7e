import pytest
import torch
from torch.nn import functional

from nowcast.precipitation.forecasters.comoving import correction
from nowcast.precipitation.forecasters.comoving.correction import (
    CELL_PX,
    CHANGES,
    GAIN,
    NEARBY,
    REACHES,
    UNLEARNED,
    Correction,
    decided,
    highest,
)

WIDTH = 6


def guides_and_changes(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    cells = (height // CELL_PX, width // CELL_PX)
    return torch.rand(2, 2 * UNLEARNED + 1, height, width), torch.randn(2, CHANGES + WIDTH, *cells)


def test_the_highest_near_a_cell_is_that_of_the_pixels_within_its_reach():
    seen = torch.rand(1, UNLEARNED, 48, 64)
    found = highest(seen).view(len(REACHES), UNLEARNED, 12, 16)
    for number, reach in enumerate(REACHES):
        beside = reach // 2
        for row, column in ((0, 0), (5, 7), (11, 15)):
            rows = slice(max(0, row - beside) * CELL_PX, (row + beside + 1) * CELL_PX)
            columns = slice(max(0, column - beside) * CELL_PX, (column + beside + 1) * CELL_PX)
            expected = GAIN * seen[0, :, rows, columns].amax((1, 2))
            assert torch.equal(found[number, :, row, column], expected)
    assert highest(seen).shape[1] == NEARBY


def test_training_begins_at_the_smoothed_forecast():
    guides, changes = guides_and_changes(32, 48)
    changes[:, :CHANGES] = 0
    expected = decided(guides[:, 1:2])
    assert torch.equal(Correction(WIDTH)(guides, changes), expected)


@pytest.mark.parametrize("at_once", [1, 500, 2**15])
def test_rows_at_a_time_are_as_all_at_once(monkeypatch: pytest.MonkeyPatch, at_once: int):
    guides, changes = guides_and_changes(48, 32)
    made = Correction(WIDTH)
    torch.nn.init.normal_(made.added.weight, std=0.05)
    whole = made(guides, changes).detach()
    monkeypatch.setattr(correction, "AT_ONCE_PX", at_once)
    with torch.no_grad():
        parts = made(guides, changes)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)


def test_cells_say_the_same_to_all_pixels_where_they_agree():
    """Of a pixel's own values alone: the small network has no neighbours."""
    guides, changes = guides_and_changes(32, 32)
    changes[:] = changes[:, :, :1, :1]
    changes[:, :CHANGES] = 0
    made = Correction(WIDTH)
    torch.nn.init.normal_(made.added.weight, std=0.05)
    other = guides.roll((3, 5), (2, 3))
    with torch.no_grad():
        moved = made(guides, changes).roll((3, 5), (2, 3))
        torch.testing.assert_close(made(other, changes), moved, rtol=0, atol=1e-6)


def test_what_is_undecided_is_drawn_to_either_side():
    found = decided(torch.tensor([-0.5, 0.05, 0.1, 0.3]))
    assert found[0] > -0.01 and found[1] < 0.01 and found[2] == 0.05
    assert found[3] == pytest.approx(0.3, abs=1e-3)
    assert functional.relu(found).max() <= 0.3
