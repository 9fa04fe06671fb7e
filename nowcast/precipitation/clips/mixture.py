"""Training batches from several archives: other radars, sizes, time steps and Z-R relations.

What is drawn is a function of seed and step, so a resumed run and every number of ranks see the
same rain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray
from torch.utils.data import Dataset

from nowcast.core.storage.origin import digest
from nowcast.precipitation.clips.appearance import as_another_radar
from nowcast.precipitation.clips.batch import RadarBatch, clip_bytes
from nowcast.precipitation.clips.identity import archive_hash
from nowcast.precipitation.clips.mixture_source import Frames, MixtureSource
from nowcast.precipitation.settings import DataSettings
from nowcast.precipitation.synthetic.simulated_outages import empty
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration, encode
from nowcast.precipitation.verification.balance import pixel_thresholds

ATTEMPTS = 20  # at a window with enough rain; then the wettest of them is taken
DRY_BELOW_MM_H = 0.05  # rain that averaging or weakening leaves fainter than any radar tells
COARSE = 2  # pixels of a side that become one
_BATCH = -1  # the place in a batch that what all its clips share is drawn for


@dataclass(frozen=True)
class Ticket:
    """Which clip of which training step: all that its randomness comes from."""

    seed: int
    step: int
    place: int

    def generator(self, place: int | None = None) -> np.random.Generator:
        """Of this clip, or of another place in its batch."""
        chosen = self.place if place is None else place
        return np.random.default_rng((self.seed, self.step, 4, chosen + 1))


class Mixture(Dataset[RadarBatch]):
    """Clips of the training days of `data.sources`, cut or padded to one square window.

    A clip is drawn by archive (its weight), speed, first moment and window, and again up to
    `ATTEMPTS` times until its last input frame has the wet share `data.min_wet`; then turned,
    mirrored, reversed and scaled as the settings say; last of all an outage may empty some input
    frames (`simulated_outages`). Levels are those of one Z-R relation; frames
    smaller than the window are padded with what the mask says is no data.

    Args:
        settings: with `sources`.
        calibration: the Z-R relation of the levels that come out.

    Raises:
        ConfigError: an archive cannot be opened or is too short, or has no masks.
    """

    def __init__(self, settings: DataSettings, calibration: Calibration) -> None:
        assert settings.random_crop is not None
        self.settings = settings
        self.calibration = calibration
        self.side = settings.random_crop[0]
        self.lengths = settings.lengths or ((settings.in_len, settings.out_len),)
        self.sources = [MixtureSource(source, settings, calibration) for source in settings.sources]
        for source in self.sources:
            for length in self.lengths:
                source.speeds(sum(length))
        weights = np.array([source.settings.weight for source in self.sources])
        self._shares = weights / weights.sum()
        self._wet_level = pixel_thresholds(calibration)[0] * PIXEL_LEVELS
        self._rates = calibration.rate_by_level()

    def __len__(self) -> int:
        """Clips at each source's own speed, of the longest length."""
        length = max(sum(length) for length in self.lengths)
        return sum(len(source.starts(1, length)) for source in self.sources)

    def batch_bytes(self, count: int) -> int:
        """What the tensors of a batch of so many clips of the longest length take."""
        length = max(sum(length) for length in self.lengths)
        return clip_bytes(count, length, self.side, self.side)

    def data_hash(self) -> str:
        """Of all archives, as `identity.archive_hash`."""
        return digest([archive_hash(source.archive, self.settings) for source in self.sources])

    def __getitems__(self, tickets: Sequence[Ticket]) -> RadarBatch:
        """A batch; what `torch.utils.data.DataLoader` calls."""
        shared = tickets[0].generator(_BATCH)
        in_len, out_len = self.lengths[shared.integers(len(self.lengths))]
        coarse = bool(shared.random() < self.settings.augment.coarsen)
        length = in_len + out_len
        levels = np.zeros((len(tickets), length, 1, self.side, self.side), dtype=np.uint8)
        mask = np.zeros(levels.shape, dtype=bool)
        times = np.empty((len(tickets), length), dtype=np.int64)
        for clip, ticket in enumerate(tickets):
            times[clip] = self._fill(
                ticket.generator(), in_len, length, coarse, levels[clip, :, 0], mask[clip, :, 0]
            )
        return RadarBatch(
            torch.from_numpy(levels),
            torch.from_numpy(mask),
            torch.from_numpy(times),
            torch.zeros(times.shape, dtype=torch.bool),
            in_len,
        )

    def _fill(
        self,
        rng: np.random.Generator,
        in_len: int,
        length: int,
        coarse: bool,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"],
    ) -> NDArray[np.int64]:
        """Draw a clip into these arrays; returns its times."""
        best = -1.0
        for _ in range(ATTEMPTS):
            source = self.sources[int(rng.choice(len(self.sources), p=self._shares))]
            times = source.moments(rng, length)
            window = self._window(rng, source, coarse)
            wet = self._wet(source.read(times[in_len - 1 : in_len], window))
            if wet > best:
                best, chosen = wet, (source, times, window)
            if wet >= self.settings.min_wet:
                break
        source, times, window = chosen
        found = source.read(times, window)
        if coarse:
            found = self._coarsened(*found)
        found = self._changed(rng, *found)
        found = as_another_radar(*found, rng, self.calibration, self.settings.augment.look)
        corner = [int(rng.integers(self.side - side + 1)) for side in found[0].shape[1:]]
        part = (
            slice(None),
            *(slice(at, at + side) for at, side in zip(corner, found[0].shape[1:], strict=True)),
        )
        levels[part], mask[part] = found
        if self.settings.augment.outage:
            empty(levels[:in_len], rng, self.settings.augment.outage)
        return times.astype("datetime64[m]").astype(np.int64)

    def _window(
        self, rng: np.random.Generator, source: "MixtureSource", coarse: bool
    ) -> tuple[slice, slice]:
        wanted = self.side * COARSE if coarse else self.side
        edges = []
        for side in source.archive.shape:
            size = min(side, wanted)
            if coarse:
                size -= size % COARSE
            first = int(rng.integers(side - size + 1))
            edges.append(slice(first, first + size))
        return edges[0], edges[1]

    def _wet(self, frame: Frames) -> float:
        levels, mask = frame
        return float(((levels >= self._wet_level) & mask).sum() / max(mask.sum(), 1))

    def _coarsened(self, levels: np.ndarray, mask: np.ndarray) -> Frames:
        def blocks(frames: np.ndarray) -> np.ndarray:
            time, height, width = frames.shape
            return frames.reshape(time, height // COARSE, COARSE, width // COARSE, COARSE)

        rates = blocks(self._rates.astype(np.float32)[levels]).mean(axis=(2, 4))
        return self._levels(rates), np.asarray(blocks(mask).all(axis=(2, 4)))

    def _levels(self, rates_mm_h: np.ndarray) -> UInt8[np.ndarray, "..."]:
        rates = np.where(rates_mm_h < DRY_BELOW_MM_H, 0, rates_mm_h)
        return encode(self.calibration.pixel_from_rate(rates))

    def _changed(self, rng: np.random.Generator, levels: np.ndarray, mask: np.ndarray) -> Frames:
        """Turned, mirrored, reversed and scaled; the same draws are made whatever is on."""
        data, augment = self.settings, self.settings.augment
        turns, mirrored, reversed_, scaled, exponent = (
            int(rng.integers(4)),
            bool(rng.integers(2)),
            bool(rng.random() < augment.reverse),
            bool(rng.integers(2)),
            float(rng.uniform(-1, 1)),
        )
        if data.turns:
            levels, mask = (np.rot90(frames, turns, axes=(1, 2)) for frames in (levels, mask))
        if data.flips and mirrored:
            levels, mask = levels[..., ::-1], mask[..., ::-1]
        if reversed_:
            levels, mask = levels[::-1], mask[::-1]
        if augment.rate_factor > 1 and scaled:
            levels = self._levels(self._rates * augment.rate_factor**exponent)[levels]
        return levels, mask


def tickets(
    batch_size: int, seed: int, start: int, rank: int, ranks: int
) -> Iterator[list[Ticket]]:
    """For each step from `start` on, this rank's share of the batch."""
    step = start
    while True:
        yield [Ticket(seed, step, place) for place in range(rank, batch_size, ranks)]
        step += 1
