"""The C extensions refuse what they cannot read, instead of reading beyond it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

_memel = pytest.importorskip("nowcast.core.memel._memel", reason="needs a C compiler")
_tally = pytest.importorskip("nowcast.precipitation.verification._tally")
_fractions = pytest.importorskip("nowcast.precipitation.verification._fractions")
_gates = pytest.importorskip("nowcast.precipitation.forecasters.cells._gates")

BATCH, NEURONS, TOP_K = 3, 8, 2
CELLS = (2, 4, 3, 3)  # batch channels height width


def memel(**changes: object) -> tuple[object, ...]:
    given: dict[str, object] = {
        "values": torch.rand(BATCH, NEURONS),
        "output": torch.empty(BATCH, NEURONS),
        "mean": torch.zeros(NEURONS),
        "variance": torch.ones(NEURONS),
        "batches": torch.tensor(20),
        "samples": torch.tensor(60),
        "chosen": torch.empty(BATCH, TOP_K, dtype=torch.int64),
        "scale": None,
        "moments": None,
    } | changes
    values, output, *statistics, chosen, scale, moments = given.values()
    return values, output, tuple(statistics), chosen, scale, moments, False, 10, 10, 0.01


def tally(**changes: object) -> tuple[object, ...]:
    given: dict[str, object] = {
        "prediction": torch.rand(2, 3, 1, 5, 5),
        "truth": torch.rand(2, 3, 1, 5, 5),
        "mask": torch.ones(2, 3, 1, 5, 5, dtype=torch.bool),
        "thresholds": torch.linspace(0.1, 0.9, 5),
        "rises": torch.ones(6),
        "counts": torch.zeros(3, 16, dtype=torch.int64),
        "errors": torch.zeros(3, 4, dtype=torch.float64),
    }
    return tuple((given | changes).values())


def windows(**changes: object) -> tuple[object, ...]:
    given: dict[str, object] = {
        "counts": torch.ones(11, 9, 7, dtype=torch.int16),
        "sums": torch.zeros(7, 5, 2, dtype=torch.float64),
        "inside": torch.zeros(7, dtype=torch.int64),
    }
    return tuple((given | changes).values())


def cells(parts: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    batch, channels, *sides = CELLS
    frames = torch.zeros(batch, parts * channels, *sides, dtype=dtype)
    return frames.contiguous(memory_format=torch.channels_last)


def gates(**changes: object) -> tuple[object, ...]:
    given: dict[str, object] = {"x": cells(3), "h": cells(3), "update": cells()}
    given |= {"candidate": cells(), "reset": cells(), "carried": cells()}
    given |= {"signs": cells(dtype=torch.uint8)}
    return (*(given | changes).values(), 0.2, 0.2)


def test_what_fits_is_done():
    assert _memel.see(*memel()) == (0, True)
    _tally.tally(*tally())
    _fractions.windows(*windows())
    _gates.open(*gates())
    _gates.open(*gates(x=torch.zeros(12), reset=None, carried=None, signs=None))


@pytest.mark.parametrize(
    ("call", "arguments", "changes", "said"),
    [
        (_memel.see, memel, {"values": torch.rand(BATCH, NEURONS - 1)}, "values: expected 24"),
        (_memel.see, memel, {"values": torch.rand(BATCH, NEURONS).double()}, "values: expected an"),
        (_memel.see, memel, {"values": torch.rand(BATCH, 2 * NEURONS)[:, ::2]}, "without gaps"),
        (_memel.see, memel, {"values": torch.rand(1, NEURONS).expand(3, -1)}, "without gaps"),
        (_memel.see, memel, {"values": [1.0]}, "values: expected a tensor, found list"),
        (_memel.see, memel, {"values": None}, "values: expected a tensor, found None"),
        (_memel.see, memel, {"values": torch.empty(3, 8, device="meta")}, "meta"),
        (_memel.see, memel, {"values": torch.empty(0)}, "values: expected 24"),
        (_memel.see, memel, {"output": cells().bfloat16()}, "output: expected the dtype of values"),
        (_memel.see, memel, {"variance": torch.ones(NEURONS + 1)}, "running_var: expected 8"),
        (_memel.see, memel, {"batches": torch.tensor(1.0)}, "num_batches_tracked: expected an"),
        (_memel.see, memel, {"chosen": torch.zeros(BATCH, 9, dtype=torch.int64)}, "top_k"),
        (_memel.see, memel, {"scale": torch.zeros(NEURONS)}, "scale: expected 24"),
        (_memel.see, memel, {"moments": torch.zeros(3).double()}, "moments: expected 17"),
        (_tally.tally, tally, {"mask": torch.ones(2, 3, 1, 5, 5)}, "mask: expected another dtype"),
        (_tally.tally, tally, {"mask": torch.ones(2, 3, 1, 5, 4).bool()}, "mask: expected the sh"),
        (_tally.tally, tally, {"truth": torch.rand(2, 3, 1, 5, 5).mT}, "truth: .* row-major"),
        (_tally.tally, tally, {"rises": torch.ones(5)}, "rises: expected 6"),
        (_tally.tally, tally, {"counts": torch.zeros(3, 15).long()}, "counts: expected 48"),
        (_fractions.windows, windows, {"counts": torch.ones(11, 9, 7)}, "counts: expected anoth"),
        (_fractions.windows, windows, {"counts": torch.ones(10, 9, 7).short()}, "two maps"),
        (_fractions.windows, windows, {"counts": torch.ones(11, 7, 9).short().mT}, "row-major"),
        (_fractions.windows, windows, {"sums": torch.zeros(69).double()}, "sums: expected 70"),
        (_fractions.windows, windows, {"inside": torch.zeros(8).long()}, "at most 7 scales"),
        (_gates.open, gates, {"x": cells(2)}, "x: expected 216"),
        (_gates.open, gates, {"h": torch.zeros(11)}, "h: expected 12"),
        (_gates.open, gates, {"x": cells(3).contiguous()}, "channels innermost"),
        (_gates.open, gates, {"candidate": cells(2)}, "candidate: expected 72"),
        (_gates.open, gates, {"reset": None}, "reset, carried and signs, or none"),
        (_gates.open, gates, {"carried": cells().bfloat16()}, "carried: expected the dtype of h"),
    ],
)
def test_what_does_not_fit_is_refused(
    call: Callable[..., Any],
    arguments: Callable[..., tuple[object, ...]],
    changes: dict[str, object],
    said: str,
):
    with pytest.raises((TypeError, ValueError, BufferError, RuntimeError), match=said):
        call(*arguments(**changes))


def test_the_way_back_is_checked_too():
    gradient, chosen = torch.rand(3, 8), torch.full((3, 2), 8)
    with pytest.raises(ValueError, match="chosen: expected neurons of the gradient"):
        _memel.turn(gradient, torch.empty_like(gradient), chosen, 1.0)
    with pytest.raises(ValueError, match="output: expected 24"):
        _memel.turn(gradient, gradient[:2].clone(), chosen, 1.0)
    with pytest.raises(ValueError, match="moments: expected 17"):
        statistics = (torch.zeros(8), torch.ones(8), torch.tensor(0), torch.tensor(0))
        _memel.count(torch.zeros(16).double(), statistics, 10)
    with pytest.raises(ValueError, match="hidden: expected 72"):
        _gates.mix(cells(), cells(2), cells(), cells())
    with pytest.raises(ValueError, match="number of tensors"):
        _gates.unmix(cells(), cells())
    kept = (cells(), cells(), cells(dtype=torch.bfloat16), cells(dtype=torch.uint8))
    with pytest.raises(ValueError, match="carried: expected float32"):
        _gates.close(cells(), cells(), *kept, cells(3), cells(3), 0.2, 0.2)
