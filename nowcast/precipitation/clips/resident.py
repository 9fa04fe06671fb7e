"""Training frames that stay on the device: a batch is gathered there, and none travels.

Where every mask is the same few, as radars have them, a frame takes a byte a pixel.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from nowcast.core.terminal.progress import line
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.clips.clips import Clips
from nowcast.precipitation.clips.draws import Draw

SHARE = 0.5  # of the memory that is free: the rest is for the network
CHUNK = 256  # frames read at a time


def stays(clips: Clips, drawn: float, free_bytes: int) -> bool:
    """Whether the frames of all clips are to stay on a device.

    Args:
        clips: whose frames they are, none of which may be missing.
        drawn: how many clips a run has yet to draw; to read all frames for fewer does not pay.
        free_bytes: of the device.
    """
    if clips.settings.max_missing:
        return False
    frames = len(clips.frame_times())
    worst = 2 * frames * clips.height * clips.width  # a mask of its own for each frame
    return worst <= SHARE * free_bytes and drawn * clips.length >= frames


class Resident:
    """The frames of clips on a device.

    Args:
        clips: which.
        device: where.

    Raises:
        DataError: a frame is absent or damaged.
    """

    def __init__(self, clips: Clips, device: torch.device) -> None:
        self._clips, self._device = clips, device
        self._times = clips.frame_times()
        self._size = clips.height * clips.width
        self._levels = torch.empty(len(self._times), self._size, dtype=torch.uint8, device=device)
        masks: dict[bytes, int] = {}  # packed -> its number
        mask_of: list[int] = []
        with line("frames to the GPU", len(self._times), unit="frames") as moving:
            for first in range(0, len(self._times), CHUNK):
                levels, mask = clips.frames(self._times[first : first + CHUNK])
                part = torch.from_numpy(levels.reshape(len(levels), self._size))
                self._levels[first : first + CHUNK] = part.to(device)
                packed = np.packbits(mask.reshape(len(mask), self._size), axis=1)
                mask_of += [masks.setdefault(one.tobytes(), len(masks)) for one in packed]
                moving.advance(by=len(levels))
        self._mask_of = torch.tensor(mask_of, device=device)
        self._masks = torch.empty(len(masks), self._size, dtype=torch.bool, device=device)
        for number, one in enumerate(masks):
            bits = np.unpackbits(np.frombuffer(one, np.uint8), count=self._size)
            self._masks[number] = torch.from_numpy(bits.astype(bool)).to(device)

    def batch(self, draws: Sequence[Draw]) -> RadarBatch:
        """What `Clips.batch` gives, on the device."""
        clips, device = self._clips, self._device
        times = np.stack([clips.times(draw.clip) for draw in draws])
        frames = self._moved(np.searchsorted(self._times, times))
        pixels = self._moved(np.stack([self._pixels(draw) for draw in draws]))[:, None]
        shape = (*times.shape, 1, *clips.frame_size)
        levels = self._levels.take(frames[..., None] * self._size + pixels)
        mask = self._masks.take(self._mask_of[frames][..., None] * self._size + pixels)
        weighted = any(draw.weight != 1 for draw in draws)
        weight = torch.tensor([draw.weight for draw in draws]) if weighted else None
        return RadarBatch(
            levels.view(shape),
            mask.view(shape),
            torch.from_numpy(times.astype(np.int64)),
            torch.zeros(times.shape, dtype=torch.bool),
            clips.settings.in_len,
            None if weight is None else weight.to(device, non_blocking=True),
        )

    def _pixels(self, draw: Draw) -> Int64[np.ndarray, " pixel"]:
        """Of each pixel of a clip the number of the frame's pixel that it shows."""
        height, width = self._clips.frame_size
        rows = draw.row + np.arange(height)[:, None]
        shown = np.empty((1, height, width), dtype=np.int64)
        draw.view(shown)[...] = rows * self._clips.width + draw.column + np.arange(width)
        return shown.ravel()

    def _moved(self, numbers: Int64[np.ndarray, "..."]) -> Tensor:
        found = torch.from_numpy(numbers.astype(np.int64))
        if self._device.type == "cuda":  # from other memory the host would wait for the copy
            found = found.pin_memory()
        return found.to(self._device, non_blocking=True)
