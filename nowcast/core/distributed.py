"""The one owner of torch.distributed: one process and many are one code path under torchrun."""

import gc
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from nowcast.core.errors import ConfigError, NowcastError, RunError

# How long ranks wait for one that has gone silent. A process that dies is noticed at once by its
# closed connections; a machine that does, only so. It must exceed what the first rank does alone:
# the pictures of a validation (seconds), the report of a comparison (a minute or two).
TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Ranks:
    """Which process this is, of how many.

    Args:
        rank: this process, from 0.
        size: how many take part.
        local: this process among those of its machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files and speaks to the user."""
        return self.rank == 0


@contextmanager
def joined(timeout: timedelta = TIMEOUT) -> Iterator[Ranks]:
    """Join the process group that torchrun described in the environment, and leave it at the end.

    Without torchrun this is one rank of one, and no group is made.

    Args:
        timeout: after which a silent rank counts as lost.

    Raises:
        RunError: the ranks did not find each other, or one was lost.
    """
    if "RANK" not in os.environ or dist.is_initialized():
        yield current()
        return
    # Its functions take the group of the time of import for a default, and so would keep it.
    import torch.distributed.nn

    with lost_ranks_told(lambda: "the same command goes on from what is saved"):
        _join(timeout)
        try:
            yield current()
        except BaseException as error:
            _forget_locals(error)
            raise
        finally:
            dist.destroy_process_group()
            # A DDP wrapper is garbage in a cycle, and it keeps the group too. Gloo's threads must
            # end before the interpreter does, or they abort the process.
            gc.collect()


def _join(timeout: timedelta) -> None:
    if not torch.cuda.is_available():
        dist.init_process_group("gloo", timeout=timeout)
        return
    # NCCL for what is on GPUs, and gloo for what the ranks tell each other besides.
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl", timeout=timeout)


def _forget_locals(error: BaseException | None) -> None:
    """Free what the frames of an error and its causes hold: the DDP wrapper among it."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@contextmanager
def lost_ranks_told(next_move: Callable[[], str]) -> Iterator[None]:
    """Tell of a lost rank in a sentence where torch.distributed has a traceback.

    Args:
        next_move: what the user can do, asked for when it comes to that.

    Raises:
        RunError: another rank has died or fallen silent, or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        # Gloo has no class of its own for what befalls it, only the place in its source.
        reason, place, _ = str(error).partition(". This is typically")
        if not isinstance(error, dist.DistError) and "gloo/transport" not in reason:
            raise
        rank, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
        raise RunError(
            f"rank {rank} of {size}: another rank was lost, and its own message says why; "
            f"{next_move()} ({reason})"
        ) from error


def current() -> Ranks:
    """The ranks as they stand now."""
    if not dist.is_initialized():
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", 0)))


def is_shared() -> bool:
    """True where there is more than one rank."""
    return dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in place; the tensor itself where there is one rank."""
    if is_shared():
        dist.all_reduce(tensor)
    return tensor


def any_rank(flag: bool, device: torch.device) -> bool:
    """True on every rank if it is true on one: so that all stop at the same step."""
    if not dist.is_initialized():
        return flag
    return bool(sum_over_ranks(torch.tensor(int(flag), device=device)).item())


def from_main(make: Callable[[], bytes | None]) -> bytes:
    """What the first rank makes, on every rank: only that one needs to see the run's folder.

    Args:
        make: called on the first rank; None counts as nothing.

    Raises:
        NowcastError: on every rank, if `make` raises it on the first.
    """
    if not is_shared():
        return make() or b""
    content, failure = b"", None
    if current().is_main:
        try:
            content = make() or b""
        except NowcastError as error:
            content, failure = str(error).encode(), error
    head = torch.tensor([len(content), failure.exit_status if failure else 0])
    dist.broadcast(head, src=0)
    length, status = head.tolist()
    body = torch.zeros(length, dtype=torch.uint8)
    if current().is_main:
        body = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
    dist.broadcast(body, src=0)
    said = body.numpy().tobytes()
    if status:
        kind = ConfigError if status == ConfigError.exit_status else RunError
        raise failure or kind(f"rank 0: {said.decode()}")
    return said


def wait() -> None:
    """Wait until every rank has come here."""
    if dist.is_initialized():
        dist.barrier()


def wrapped(model: nn.Module, device: torch.device) -> nn.Module:
    """The model as DDP over all ranks, or as it is where there is one.

    Buffers are not synchronised at each step: MEmeL's statistics are made equal on all ranks by
    their own all-reduce, and a broadcast would only hide it if they were not.
    """
    if not is_shared():
        return model
    return nn.parallel.DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        forward_sync_buffers=False,
    )
