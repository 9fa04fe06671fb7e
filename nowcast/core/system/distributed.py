"""The one owner of torch.distributed: one process and many are one code path under torchrun."""

import gc
import inspect
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nowcast.core.errors import ConfigError, NowcastError, RunError
from nowcast.core.storage.files import mendable
from nowcast.core.system.slurm import as_torchrun

# After which a silent rank counts as lost: a machine that has gone, since a process that dies is
# noticed at once. Longer than what the first rank does alone: the pictures of a validation, the
# report of a comparison. NCCL's own default.
TIMEOUT = timedelta(minutes=10)
# Of DDP: its name before torch 2.13, which warns of that.
SYNC_BUFFERS = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(nn.parallel.DistributedDataParallel).parameters
    else "broadcast_buffers"
)


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
    """Join the process group that torchrun, or Slurm's srun, described in the environment, and
    leave it at the end.

    Without them this is one rank of one, and no group is made.

    Args:
        timeout: how long a rank waits for the others.

    Raises:
        RunError: another rank cannot be reached, or was lost.
    """
    os.environ.update(as_torchrun(os.environ))
    if "RANK" not in os.environ or dist.is_initialized():
        yield current()
        return
    # Its functions take the group of the time of import for a default, and so would keep it.
    import torch.distributed.nn

    with losses_told(lambda: "the same command goes on from what is saved"):
        # NCCL for what is on GPUs, gloo for what the ranks tell each other besides. The GPU is
        # `devices.pick_device`'s to choose: a run on CPUs leaves CUDA alone.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=timeout)
        try:
            yield current()
        except BaseException as error:
            _clear_frames(error)
            raise
        finally:
            dist.destroy_process_group()
            # A DDP wrapper is garbage in a cycle, and it keeps the group too. Gloo's threads must
            # end before the interpreter does, or one that frees a tensor then aborts the process.
            gc.collect()


def _clear_frames(error: BaseException | None) -> None:
    """Drop what the frames that an error has left hold, a DDP wrapper perhaps."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@contextmanager
def losses_told(next_move: Callable[[], str]) -> Iterator[None]:
    """Turn what torch.distributed raises when another rank is lost into an error for the user.

    Args:
        next_move: what can be done, asked for when it has happened.

    Raises:
        RunError: another rank has died, or has been silent for too long.
    """
    try:
        yield
    except RuntimeError as error:
        # Gloo has no class of its own for this, only the place in its source at the beginning.
        if not isinstance(error, dist.DistError) and "gloo/transport" not in str(error):
            raise
        reason = str(error).partition(". This is typically")[0]
        raise RunError(
            f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} has lost another rank, which "
            f"may have said why ({reason.partition('] ')[2] or reason}); {next_move()}"
        ) from error


def current() -> Ranks:
    """The ranks as they stand now."""
    if not dist.is_initialized():
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", 0)))


def is_shared() -> bool:
    """True where there is more than one rank."""
    return dist.is_initialized() and dist.get_world_size() > 1


def local_ranks() -> int:
    """How many ranks run on this machine; 1 without torchrun."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if is_shared() else 1


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, in place; the tensor itself where there is one rank."""
    if is_shared():
        dist.all_reduce(tensor)
    return tensor


class SumUnderWay:
    """The sum of a tensor over all ranks, while there is other work to do.

    Args:
        tensor: of this rank; not to be touched until `wait`.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self._work = dist.all_reduce(tensor, async_op=True)

    def wait(self) -> Tensor:
        """The same tensor, with the sum in it."""
        if self._work is not None:
            self._work.wait()
        return self._tensor


def any_rank(flag: bool, device: torch.device) -> bool:
    """True on every rank if it is true on one: so that all stop at the same step."""
    if not dist.is_initialized():
        return flag
    return bool(sum_over_ranks(torch.tensor(int(flag), device=device)).item())


def from_main(make: Callable[[], bytes | None]) -> bytes:
    """What the first rank makes, on every rank: so that the others need not see its files.

    Args:
        make: called on the first rank alone; None is no bytes.

    Raises:
        NowcastError: on every rank, where `make` raises it on the first.
    """
    if not is_shared():
        return make() or b""
    content = b""
    failure: NowcastError | None = None
    if current().is_main:
        try:
            content = make() or b""
        except NowcastError as error:
            content, failure = str(error).encode(), error
        except OSError as error:  # else the others would wait
            failure = mendable(error) or RunError(f"{type(error).__name__}: {error}")
            content = str(failure).encode()
    head = torch.tensor([len(content), failure.exit_status if failure else 0])
    dist.broadcast(head, src=0)
    length, status = head.tolist()
    body = torch.zeros(length, dtype=torch.uint8)
    if content:
        body = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    dist.broadcast(body, src=0)
    said = body.numpy().tobytes()
    if status:
        kind = ConfigError if status == ConfigError.exit_status else RunError
        raise failure or kind(f"rank 0: {said.decode()}")
    return said


def file_from_main(path: Path) -> bytes:
    """What the first rank's file holds, on every rank; nothing where it has none.

    Raises:
        RunError: on every rank, where another has the file and the first does not.
    """
    content = from_main(lambda: path.read_bytes() if path.is_file() else None)
    if any_rank(path.is_file(), torch.device("cpu")) and not content:
        raise RunError(
            f"{path}: expected it where rank 0 runs, found it on another machine; start so that "
            "rank 0 is on that one again, or use a folder that all machines share"
        )
    return content


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
    buffers: dict[str, Any] = {SYNC_BUFFERS: False}
    if SYNC_BUFFERS == "broadcast_buffers":  # which leaves out DDP's own of the start, too
        for buffer in model.buffers():
            first = buffer.contiguous()
            dist.broadcast(first, src=0)
            buffer.copy_(first)
    return nn.parallel.DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,  # no copy of all gradients after the sum
        **buffers,
    )


def unsynchronised(model: nn.Module) -> AbstractContextManager[None]:
    """Around passes, forward and back, of a model from `wrapped` whose gradients are not all yet:
    ranks add up their sums in the next pass outside of it."""
    if not isinstance(model, nn.parallel.DistributedDataParallel):
        return nullcontext()
    kept: AbstractContextManager[None] = model.no_sync()
    return kept
