"""Calls repeated by activation checkpointing: a layer with state must do again what it did before.

`torch.utils.checkpoint` with ``use_reentrant=False`` runs a segment of the forward pass a second
time during the backward pass. It says so to nobody, so its frame is read off the hooks that it
puts on saved tensors; nothing else of torch's internals is used.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary

import torch
from torch import nn


@dataclass
class _Calls:
    """What one layer did in one segment, call by call, and how far each backward pass is."""

    done: list[Any] = field(default_factory=list)
    repeated: dict[int, int] = field(default_factory=dict)


_segments: WeakKeyDictionary[Any, dict[nn.Module, _Calls]] = WeakKeyDictionary()


def keep(layer: nn.Module, what: Callable[[], object]) -> None:
    """Remember what a layer did in this call; asks for it only if the call will be repeated."""
    if torch.compiler.is_compiling():
        return
    frame = _frame()
    if frame is not None:
        _segments.setdefault(frame, {}).setdefault(layer, _Calls()).done.append(what())


def replay(layer: nn.Module) -> Any:
    """What the layer did in the call that is being repeated; None in a first call.

    Raises:
        RuntimeError: called in a backward pass by something that is not understood.
    """
    if torch.compiler.is_compiling():
        return None
    backward: int = torch._C._current_graph_task_id()
    if backward == -1:
        return None
    frame = _frame()
    calls = _segments.get(frame, {}).get(layer) if frame is not None else None
    if calls is None:
        raise RuntimeError(
            f"{type(layer).__name__} was called within a backward pass, but not as a repetition "
            "of a call it knows. Checkpoint with torch.utils.checkpoint.checkpoint(..., "
            "use_reentrant=False), and no checkpoint within another"
        )
    position = calls.repeated.get(backward, 0)
    calls.repeated[backward] = position + 1
    return calls.done[position]


def _frame() -> Any:
    """The checkpointed segment that this call belongs to, first or repeated; None outside."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    if hooks is None:
        return None
    captured = inspect.getclosurevars(inspect.unwrap(hooks[0])).nonlocals
    frame = captured.get("frame", captured.get("target_frame_ref"))
    return frame() if isinstance(frame, ReferenceType) else frame
