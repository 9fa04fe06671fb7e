"""Scores travel as sums and become ratios once, at the end: batches and ranks merge exactly."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nowcast.core.distributed import sum_over_ranks


@dataclass(frozen=True)
class Sums:
    """Named arrays of int64 counts and float64 sums over what was scored.

    Addition merges what two disjoint parts of a data set gave.
    """

    values: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            assert value.dtype in (np.int64, np.float64), (name, value.dtype)

    def __add__(self, other: "Sums") -> "Sums":
        """The sums over both parts."""
        assert self.values.keys() == other.values.keys()
        return Sums(
            {name: np.asarray(value + other.values[name]) for name, value in self.values.items()}
        )

    def zero(self) -> "Sums":
        """The sums over nothing, of the same names and shapes."""
        return Sums({name: np.zeros_like(value) for name, value in self.values.items()})

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.values[name]

    def over_ranks(self, device: torch.device) -> "Sums":
        """The sums over all ranks."""
        reduced = {
            name: sum_over_ranks(torch.as_tensor(value, device=device).clone()).cpu().numpy()
            for name, value in self.values.items()
        }
        return Sums(reduced)


def pooled(parts: Sequence[Sums]) -> Sums:
    """The sums over all parts, of which there is at least one."""
    return reduce(operator.add, parts)


@dataclass(frozen=True)
class Scores:
    """What sums say, by name: single numbers and curves along one axis.

    A score that belongs to a family is named ``family/member``, e.g. ``csi/0.5``. An undefined
    score (no event to score) is None.

    Args:
        values: name -> number.
        curves: name -> numbers along the axis.
        axis_name: e.g. ``minutes``.
        axis: where along it.
    """

    values: Mapping[str, float | None]
    curves: Mapping[str, tuple[float | None, ...]]
    axis_name: str
    axis: tuple[float, ...]

    def document(self) -> dict[str, Any]:
        """As nested plain values for JSON: families become objects, the curves ``by_lead_time``."""
        curves = _nested(self.curves)
        return _nested(self.values) | {CURVES: {self.axis_name: list(self.axis)} | curves}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Scores":
        """The scores that `document` wrote."""
        values = {name: value for name, value in document.items() if name != CURVES}
        (axis_name, axis), *curves = document[CURVES].items()
        flat = _flat(dict(curves))
        return cls(
            values=_flat(values),
            curves={name: tuple(curve) for name, curve in flat.items()},
            axis_name=axis_name,
            axis=tuple(axis),
        )


CURVES = "by_lead_time"


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        plain = list(value) if isinstance(value, tuple) else value
        family, _, member = name.partition("/")
        if member:
            nested.setdefault(family, {})[member] = plain
        else:
            nested[family] = plain
    return nested


def _flat(nested: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for family, value in nested.items():
        if isinstance(value, Mapping):
            flat |= {f"{family}/{member}": inner for member, inner in value.items()}
        else:
            flat[family] = value
    return flat
