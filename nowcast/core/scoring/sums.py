"""Scores travel as sums and become ratios once, at the end: batches and ranks merge exactly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nowcast.core.errors import RunError
from nowcast.core.storage.files import write_whole
from nowcast.core.system.distributed import sum_over_ranks

BLOCKS = "blocks"  # the entry of a file of sums that names them, in order


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

    def check_finite(self, whose: str) -> None:
        """Refuse sums of which no score can be made.

        Args:
            whose: they are, for the message.

        Raises:
            RunError: some are NaN or infinite.
        """
        wrong = [name for name, value in self.values.items() if not np.isfinite(value).all()]
        if wrong:
            raise RunError(
                f"{whose}: expected forecasts that are numbers, found NaN or infinity in the sums "
                f"{', '.join(wrong[:5])}{', ...' * (len(wrong) > 5)}; look at its weights and at "
                "what it makes of the data. Nothing is scored"
            )

    def over_ranks(self, device: torch.device) -> "Sums":
        """The sums over all ranks."""
        reduced = {
            name: sum_over_ranks(torch.as_tensor(value, device=device).clone()).cpu().numpy()
            for name, value in self.values.items()
        }
        return Sums(reduced)


def save_blocks(path: Path, blocks: Mapping[str, Sums]) -> None:
    """Write the sums of each block as safetensors."""
    arrays = {
        f"{place}/{name}": np.array(value, order="C")
        for place, sums in enumerate(blocks.values())
        for name, value in sums.values.items()
    }
    metadata = {BLOCKS: json.dumps(list(blocks))}
    write_whole(path, lambda temporary: save_file(arrays, temporary, metadata), SafetensorError)


def load_blocks(path: Path) -> dict[str, Sums]:
    """The sums that `save_blocks` wrote.

    Raises:
        RunError: unreadable, or something else.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            blocks: list[str] = json.loads(file.metadata()[BLOCKS])
            found: list[dict[str, NDArray[Any]]] = [{} for _ in blocks]
            for key in file.keys():  # noqa: SIM118
                place, _, name = key.partition("/")
                found[int(place)][name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(
            f"{path}: expected the sums of a scored run, found something else ({error}); remove "
            "the file, and the run is scored again"
        ) from error
    return {block: Sums(values) for block, values in zip(blocks, found, strict=True)}


@dataclass(frozen=True)
class Scores:
    """What sums say, by name: single numbers and curves along one axis.

    A score that belongs to a family is named ``family/member``. An undefined
    score (no event to score) is None, and `why` says why.

    Args:
        values: name -> number.
        curves: name -> numbers along the axis.
        axis_name: the unit of the axis, e.g. ``minutes``.
        axis: positions along it.
        support: what the scores rest on, name -> count over everything scored, e.g. of samples.
        support_curves: the same along the axis, where it differs.
        why: score -> why it, or a point of its curve, is undefined.
        along: what the axis is, words joined by ``_``, e.g. ``depth``.
    """

    values: Mapping[str, float | None]
    curves: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    axis_name: str = ""
    axis: tuple[float, ...] = ()
    support: Mapping[str, int] = field(default_factory=dict)
    support_curves: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    along: str = "axis"

    @property
    def axis_title(self) -> str:
        """The axis as a chart names it."""
        return f"{self.along.replace('_', ' ')} ({self.axis_name})"

    def resting_on(self, **counts: int) -> "Scores":
        """The same with more support, e.g. the number of episodes, which sums do not know."""
        return replace(self, support={**self.support, **counts})

    def document(self) -> dict[str, Any]:
        """As nested plain values for JSON: families become objects, and so do the curves under
        ``by_`` and what they are along.

        ``support`` and ``undefined`` stand beside the scores where there are any.
        """
        document = _nested(self.values)
        if self.axis:
            curves = {self.axis_name: list(self.axis)} | _nested(self.curves)
            if self.support_curves:
                curves[SUPPORT] = _nested(self.support_curves)
            document[f"{BY}{self.along}"] = curves
        for key, part in ((SUPPORT, self.support), (UNDEFINED, self.why)):
            if part:
                document[key] = _nested(part)
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Scores":
        """The scores that `document` wrote."""
        values = {name: value for name, value in document.items() if not is_no_score(name)}
        by = next((name for name in document if name.startswith(BY)), BY)
        (axis_name, axis), *rest = document.get(by, {"": ()}).items()
        curves = dict(rest)
        support_curves = curves.pop(SUPPORT, {})
        return cls(
            values=flat(values, "/"),
            curves=_tuples(flat(curves, "/")),
            along=by.removeprefix(BY) or "axis",
            axis_name=axis_name,
            axis=tuple(axis),
            support=flat(document.get(SUPPORT, {}), "/"),
            support_curves=_tuples(flat(support_curves, "/")),
            why=flat(document.get(UNDEFINED, {}), "/"),
        )


BY = "by_"  # before what curves are along
SUPPORT = "support"
UNDEFINED = "undefined"


def is_no_score(name: str) -> bool:
    """Whether a key of a document holds something else than a score or a family of scores."""
    return name in (SUPPORT, UNDEFINED) or name.startswith(BY)


def _tuples(curves: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {name: tuple(curve) for name, curve in curves.items()}


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


def flat(nested: Mapping[str, Any], separator: str = ".", above: str = "") -> dict[str, Any]:
    """Values by the keys that lead to them, joined by a separator; an empty mapping is a value."""
    values: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            values |= flat(value, separator, f"{above}{key}{separator}")
        else:
            values[f"{above}{key}"] = value
    return values
