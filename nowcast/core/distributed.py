"""The one owner of torch.distributed: one process and many are one code path under torchrun."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


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
def joined() -> Iterator[Ranks]:
    """Join the process group that torchrun described in the environment, and leave it at the end.

    Without torchrun this is one rank of one, and no group is made.
    """
    if "RANK" not in os.environ or dist.is_initialized():
        yield current()
        return
    # Its functions take the group of the time of import for a default, and so would keep it.
    import torch.distributed.nn

    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield current()
    finally:
        dist.destroy_process_group()
        # A DDP wrapper is garbage in a cycle, and it keeps the group too. Gloo's threads must end
        # before the interpreter does: one that still frees a tensor then aborts the process.
        gc.collect()


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


def main_says(flag: bool, ranks: Ranks, device: torch.device) -> bool:
    """The main rank's answer on every rank: only it is sure to see the files it has written."""
    return any_rank(flag and ranks.is_main, device)


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
