"""Weights and training state on disk: written whole or not at all, read without pickles.

Weights alone are safetensors; the state that resumes a run is a torch file of plain tensors and
numbers, read with ``weights_only=True``.
"""

import io
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nowcast.core.errors import RunError
from nowcast.core.memel.plug import matching_state, plugged
from nowcast.core.storage.files import write_whole
from nowcast.core.storage.finite import check_weights
from nowcast.core.training.average import WeightAverage

HEADER = "nowcast"  # the entry of a weights file that holds its config and MEmeL sites


@runtime_checkable
class Grown(Protocol):
    """A model that can begin with the weights of a smaller kind than its own."""

    def grown(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Those weights, completed for this model; its own kind's as they are."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        step: optimiser steps done.
        best_step: the validated step with the least objective so far; None before the first.
        best_objective: that objective.
        logged: losses logged.
        highest_loss: the largest of them.
    """

    step: int = 0
    best_step: int | None = None
    best_objective: float | None = None
    logged: int = 0
    highest_loss: float = 0.0


def save_weights(path: Path, model: nn.Module, config: Mapping[str, Any]) -> None:
    """Write a model's state as safetensors, its config and MEmeL sites in the header."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    # One entry: safetensors writes several in an order that changes from call to call.
    metadata = {HEADER: json.dumps({"config": config, "memel_sites": list(plugged(model))})}
    _write(path, lambda temporary: save_file(tensors, temporary, metadata))


def load_weights(path: Path, model: nn.Module) -> None:
    """Load the weights of `save_weights` into a model, with MEmeL plugged in or not on either side.

    MEmeL's statistics are loaded where both have a layer at a site, dropped where only the file
    has one, and left fresh where only the model has one. Everything else must match, once a
    `Grown` model has completed what it is given.

    Raises:
        RunError: unreadable, the weights of another model (the differences are named), or with
            values that are not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            json.loads(file.metadata()[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise RunError(f"{path}: expected weights written by nowcast: {error}") from error
    weights, expected = matching_state(model, tensors), model.state_dict()
    if isinstance(model, Grown):
        weights = dict(model.grown(weights))
    wrong = sorted(
        [f"{name}: missing in the file" for name in expected.keys() - weights.keys()]
        + [f"{name}: unknown to the model" for name in weights.keys() - expected.keys()]
        + [
            f"{name}: {tuple(weights[name].shape)} in the file, {tuple(expected[name].shape)} in "
            "the model"
            for name in weights.keys() & expected.keys()
            if weights[name].shape != expected[name].shape
        ]
    )
    if wrong:
        shown = "\n  ".join(wrong[:5])
        raise RunError(
            f"{path}: weights of another model, {len(wrong)} entries differ:\n  {shown}\n"
            "use the config the weights were trained with"
        )
    check_weights(path, {name: weights[name] for name in weights.keys() & tensors.keys()})
    model.load_state_dict(weights)


def save_state(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    monitor: Mapping[str, Tensor],
    average: Mapping[str, Tensor] | None = None,
) -> None:
    """Write all that a run needs to resume to the bit."""
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "progress": asdict(progress),
        "monitor": dict(monitor),
        "average": dict(average or {}),
    }
    _write(path, lambda temporary: torch.save(state, temporary))


def load_state(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    content: bytes | None = None,
    average: WeightAverage | None = None,
) -> tuple[Progress, dict[str, Tensor]]:
    """Load what `save_state` wrote; returns the progress and the monitor's state.

    Args:
        path: of the file.
        model: whose state is replaced.
        optimiser: whose state is replaced.
        content: of the file, if it has been read: only one rank may see the file.
        average: whose state is replaced; None if weights are not averaged.

    Raises:
        RunError: unreadable, of another model, or with weights that are not finite.
    """
    try:
        file = path if content is None else io.BytesIO(content)
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        check_weights(path, state["model"])
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        if average is not None:
            average.load_state_dict(state["average"])
        return Progress(**state["progress"]), state.get("monitor", {})
    except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError, EOFError) as error:
        raise RunError(
            f"{path}: expected the state of this run, found something else ({error}); remove the "
            "file to start the run anew"
        ) from error


def _write(path: Path, write: Callable[[Path], None]) -> None:
    write_whole(path, write, RuntimeError, SafetensorError)  # what both say of a full disk
