"""A training step on a GPU as one CUDA graph: recorded once, then launched as a whole.

A step is thousands of launches, and where batches are small the host is slower at them than the GPU
is at the work. A recorded step reads and writes the same memory each time: a batch is copied into
that of the first one, and the learning rate is a tensor (`optim.for_device`). What the host decides
or counts at a step is as it was when the step was recorded, so only a `Replayable` task is.

Steps that are logged run kernel by kernel, since they measure more; so does a batch of another
kind, e.g. of shorter clips.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from nowcast.core.settings import TrainSettings
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.task import Batch, Replayable, Task

WARM_UP = 3  # steps with a kind of batch first: optimisers and libraries allocate in them


@runtime_checkable
class Recorder(Protocol):
    """Where steps run, and how they are recorded."""

    device: torch.device

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """Do it now."""
        ...

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """Record it, without doing it; what does it, and the tensor that its result is then in."""
        ...


class CudaRecorder:
    """A stream of its own for all steps, which must not be the default one to be recorded."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """See `Recorder`. Each stream waits for the other, so either may free what both used."""
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        # A thread that pins batches may allocate meanwhile.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            result = work()
        return graph.replay, result


def recorder(device: torch.device) -> Recorder | None:
    """Of steps on a device; None: they cannot be recorded there."""
    return CudaRecorder(device) if device.type == "cuda" else None


def obstacle(task: Task, train: TrainSettings, ranks: Ranks) -> str | None:
    """Why the steps of a run on a GPU cannot be recorded; None: they can."""
    if ranks.size > 1:
        return f"there are {ranks.size} ranks, which wait for each other"
    if not (isinstance(task, Replayable) and task.replayable):
        return "its loss takes more of the host than launches"
    for setting, value in (("accumulate", train.accumulate > 1), ("checkpoint", train.checkpoint)):
        if value:
            return f"of train.{setting}"
    return "of train.detect_anomaly" if train.detect_anomaly else None


@dataclass(frozen=True)
class _Recorded:
    """A step.

    Args:
        kind: of its batches.
        inputs: of a batch, by name: where it reads them.
        replay: does it.
        loss: where it leaves it.
    """

    kind: Hashable
    inputs: dict[str, Tensor]
    replay: Callable[[], object]
    loss: Tensor


class Replayed:
    """Training steps, most of them one launch each.

    Args:
        work: a step with a batch, whose loss it returns.
        recorder: of the model's device.
        ready: whether a step is now as all later ones will be, e.g. reads nothing to warn of.
        flush: takes in what steps have left for the host to deal with, on the device alone; it
            becomes part of the recorded step.
        give_up: told why a step could not be recorded; steps then run one by one, unless it raises.
    """

    def __init__(
        self,
        work: Callable[[Any], Tensor],
        recorder: Recorder,
        ready: Callable[[], bool],
        flush: Callable[[], None],
        give_up: Callable[[Exception], None],
    ) -> None:
        self._work, self._recorder = work, recorder
        self._ready, self._flush, self._give_up = ready, flush, give_up
        self._warm_up: Counter[Hashable] = Counter()
        self._recorded: _Recorded | None = None
        self._given_up = False

    def __call__(self, batch: Batch, watched: bool) -> Tensor:
        """Do a step.

        Args:
            batch: on the recorder's device.
            watched: whether more is measured than in most steps.

        Returns:
            the loss, which the next step may overwrite.
        """
        kind = _kind(batch, self._recorder.device)
        if not (watched or self._given_up) and self._is_recorded(batch, kind):
            assert self._recorded is not None
            for name, place in self._recorded.inputs.items():
                place.copy_(getattr(batch, name), non_blocking=True)
            self._recorded.replay()
            return self._recorded.loss
        self._warm_up[kind] += 1
        return self._recorder.run(lambda: self._work(batch))

    def _is_recorded(self, batch: Batch, kind: Hashable) -> bool:
        """Whether a step with this kind of batch is, or could be now."""
        if self._recorded is None and self._warm_up[kind] >= WARM_UP and self._ready():
            try:
                self._recorded = self._record(batch, kind)
            except RuntimeError as error:  # as CUDA's are, too
                self._given_up = True
                self._give_up(error)
        return self._recorded is not None and self._recorded.kind == kind

    def _record(self, batch: Batch, kind: Hashable) -> _Recorded:
        tensors = _tensors(batch, self._recorder.device)
        inputs = {name: tensor.clone() for name, tensor in tensors.items()}
        held: Any = replace(batch, **inputs)  # type: ignore[type-var]
        self._flush()

        def whole() -> Tensor:
            loss = self._work(held)
            self._flush()
            return loss

        return _Recorded(kind, inputs, *self._recorder.record(whole))


def _tensors(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """What a batch has on a device, by name; times and the like stay with the host."""
    assert is_dataclass(batch), "a Replayable task has batches that are dataclasses"
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, Tensor) and value.device == device
    }


def _kind(batch: Batch, device: torch.device) -> Hashable:
    """What batches must have in common to share a recorded step: the form of their tensors, and
    their numbers."""
    assert is_dataclass(batch)
    forms = [
        (name, tensor.shape, tensor.dtype, tensor.stride())
        for name, tensor in _tensors(batch, device).items()
    ]
    numbers = [
        (field.name, value)
        for field in fields(batch)
        if isinstance(value := getattr(batch, field.name), int | float | None)
    ]
    return tuple(forms), tuple(numbers)
