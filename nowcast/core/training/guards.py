"""Stop a run before it wastes hours: a loss that is not a number or explodes, a full disk."""

import errno
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.filesize import decimal
from torch import Tensor, nn

from nowcast.core.errors import RunError
from nowcast.core.storage.files import reason
from nowcast.core.system.distributed import Ranks, sum_over_ranks

LEAST_LOGGED = 10  # losses before one of them can be called an explosion
# Of the weights' size: best and last weights, two moments of Adam, one file while it is written.
COPIES = 6
NEVER = -1


class LossFailure(Exception):
    """A loss with which training must stop.

    Args:
        what: is wrong with the loss.
        step: of the loss, from 0.
        rank: that had it.
    """

    def __init__(self, what: str, step: int, rank: int) -> None:
        super().__init__(what)
        self.what, self.step, self.rank = what, step, rank


class LossGuard:
    """Records the first step whose loss is not a number, on the device: no step waits for it.

    Args:
        ranks: of this process.
        device: of the losses.
        factor: a logged loss above this many times the highest so far is an explosion; None turns
            that off.
    """

    def __init__(self, ranks: Ranks, device: torch.device, factor: float | None) -> None:
        self._ranks = ranks
        self._factor = factor
        self._first = torch.full((), NEVER, dtype=torch.int64, device=device)
        self._loss = torch.zeros((), device=device)
        self._step = 0

    def add(self, loss: Tensor, step: int) -> None:
        """Check this rank's loss, without waiting for the device."""
        self._loss, self._step = loss.detach().float(), step
        bad = ~torch.isfinite(self._loss) & (self._first == NEVER)
        self._first = torch.where(bad, step, self._first)

    def read(self) -> float:
        """The last loss, averaged over ranks; waits for the device and all ranks.

        Raises:
            LossFailure: on every rank, if a loss so far was not a number on any.
        """
        ranks = self._ranks
        both = torch.zeros(ranks.size, 2, dtype=torch.float64, device=self._loss.device)
        both[ranks.rank] = torch.stack((self._loss.double(), self._first.double()))
        # A NaN of one rank would be a NaN in the others' rows if it were summed.
        both[ranks.rank, 0].nan_to_num_(0.0, 0.0, 0.0)
        losses, first = sum_over_ranks(both).cpu().unbind(1)
        failed = [(int(step), rank) for rank, step in enumerate(first.tolist()) if step != NEVER]
        if failed:
            step, rank = min(failed)
            raise LossFailure("not a number", step, rank)
        return float(losses.mean())

    def check(self, loss: float, logged: int, highest: float) -> None:
        """Compare a logged loss with the earlier ones.

        Args:
            loss: of this step.
            logged: number of earlier losses.
            highest: the largest of them.

        Raises:
            LossFailure: the loss explodes.
        """
        if self._factor is None or logged < LEAST_LOGGED or loss <= self._factor * highest:
            return
        raise LossFailure(
            f"{loss:.4g}, more than {self._factor:g} times the highest before, {highest:.4g}",
            self._step,
            rank=0,
        )


def all_finite(model: nn.Module) -> bool:
    """Whether every weight and buffer is finite; waits for the device."""
    total = sum(tensor.detach().double().sum() for tensor in model.state_dict().values())
    return bool(torch.isfinite(torch.as_tensor(total)))


def bytes_needed(model: nn.Module) -> int:
    """Bytes that a run's checkpoints take at most: with Adam, while one replaces the last."""
    tensors: Iterable[Tensor] = model.state_dict().values()
    return COPIES * sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def check_disk(folder: Path, needed: int, what: str) -> None:
    """Check that the disk of `folder`, which need not exist yet, has room.

    Raises:
        RunError: less than `needed` bytes are free.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise RunError(
            f"{folder}: expected {decimal(needed)} of free disk for {what}, found {decimal(free)}; "
            "make room or choose a folder on another disk"
        )


@contextmanager
def failed_writes_explained(folder: Path, last: Path) -> Iterator[None]:
    """Turn a failed write into a message that says which state is safe.

    Raises:
        RunError: the system refused a write.
    """
    try:
        yield
    except OSError as error:
        kept = f"{last.name} is whole" if last.is_file() else "nothing was saved before"
        number, why = reason(error, folder)
        mend = "Make room" if number == errno.ENOSPC else "Mend that"
        raise RunError(
            f"{folder}: a file could not be written ({why}); {kept}, and the same command goes on "
            f"from it. {mend} first"
        ) from error
