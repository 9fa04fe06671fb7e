"""Batches for a config, read by this process or by workers ahead of it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nowcast.core.system.devices import pick_device, uses_cuda
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.shared_memory import check_shared_memory
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.clips.clips import Clips
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.clips.mixture import Mixture
from nowcast.precipitation.clips.resident import Resident, stays
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import Calibration

Motion = Callable[[Tensor, Tensor], Tensor | None]  # of input frames and mask


@dataclass(frozen=True)
class Loader:
    """Reads batches as planned. With the forecaster's own estimate of motion, where it takes one: a
    worker makes it while the steps before go on.

    Args:
        settings: the whole config of a run.
        calibration: Z-R relation of the frames.
    """

    settings: PrecipitationSettings
    calibration: Calibration

    def batches(self, clips: Clips | Mixture, plan: Iterable[list[Any]]) -> Iterator[RadarBatch]:
        """See `load`."""
        train, model = self.settings.train, self.settings.model
        motion = partial(model.motion, calibration=self.calibration) if model.takes_motion else None
        return load(clips, plan, train.workers, uses_cuda(train.device), motion)

    def training(
        self, clips: Clips, plan: Iterable[list[Draw]], start: int, ranks: Ranks
    ) -> Iterator[RadarBatch]:
        """As `batches`, for the steps from `start` on; on a GPU that has room for all frames they
        stay there (`data.on_gpu`), unless motion is to be estimated of them."""
        train = self.settings.train
        wanted = self.settings.data.on_gpu == "auto" and uses_cuda(train.device)
        if wanted and not self.settings.model.takes_motion:
            device = pick_device(train.device, ranks)
            free, _ = torch.cuda.mem_get_info(device)
            samples = (train.epochs or 0) * len(clips)
            if train.steps is not None:
                samples = train.steps * train.batch_size
            drawn = (samples - start * train.batch_size) / ranks.size
            if stays(clips, drawn, free):
                return map(Resident(clips, device).batch, plan)
        return self.batches(clips, plan)

    def check_shared_memory(self, source: Clips | Mixture, count: int, *others: Clips) -> None:
        """Check that batches of so many clips, and those of other loaders that are open at the same
        time, can be read ahead; raises as `shared_memory.check_shared_memory`."""
        sizes = [self._bytes(clips, max(1, count)) for clips in (source, *others)]
        check_shared_memory(self.settings.train.workers, *sizes)

    def _bytes(self, clips: Clips | Mixture, count: int) -> int:
        size, data = clips.batch_bytes(count), self.settings.data
        if not self.settings.model.takes_motion:
            return size
        frames = max((sum(one) for one in data.lengths), default=data.in_len + data.out_len)
        return size + 4 * size // frames  # 8 bytes a pixel, beside 2 of each frame


def load(
    clips: Dataset[Any],
    plan: Iterable[list[Any]],
    workers: int,
    pinned: bool = False,
    motion: Motion | None = None,
) -> Iterator[RadarBatch]:
    """Batches as planned, of what `clips` gives for a list of the plan, read by this process (0) or
    so many workers ahead of it; in pinned memory for a GPU, which that of a CPU's run is not; with
    their motion where there is an estimate of it."""
    loader: DataLoader[RadarBatch] = DataLoader(
        clips,
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=partial(_completed, motion),
        pin_memory=pinned,
    )
    return iter(loader)


def _completed(motion: Motion | None, batch: Any) -> RadarBatch:
    """Clips come as a batch already, which lacks its motion at most."""
    assert isinstance(batch, RadarBatch)
    if motion is None:
        return batch
    return replace(batch, motion=motion(batch.inputs, batch.input_mask))
