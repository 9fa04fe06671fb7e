"""Training batches from several archives: other radars, sizes, time steps and Z-R relations.

What is drawn is a function of seed and step, so a resumed run and every number of ranks see the
same rain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, UInt8
from numpy.typing import NDArray
from torch.utils.data import Dataset

from nowcast.core.errors import ConfigError
from nowcast.core.storage.origin import digest
from nowcast.precipitation.clips.appearance import as_another_radar
from nowcast.precipitation.clips.batch import RadarBatch, clip_bytes
from nowcast.precipitation.clips.identity import archive_hash
from nowcast.precipitation.clips.mixture_source import Frames, MixtureSource
from nowcast.precipitation.forecasters.scale import Scale, numbers
from nowcast.precipitation.settings import DataSettings, WindowSettings
from nowcast.precipitation.synthetic.simulated_outages import empty
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration, encode
from nowcast.precipitation.verification.balance import pixel_thresholds

ATTEMPTS = 20  # at a window with enough rain; then the wettest of them is taken
DRY_BELOW_MM_H = 0.05  # rain that averaging or weakening leaves fainter than any radar tells


@dataclass(frozen=True)
class Ticket:
    """Which clip of which training step: all that its randomness comes from."""

    seed: int
    step: int
    place: int

    def generator(self, *numbers: int) -> np.random.Generator:
        """Of one of its clips, by number; without one, of what all clips of the batch share."""
        own = (self.place + 1, *numbers) if numbers else (0,)
        return np.random.default_rng((self.seed, self.step, 4, *own))


@dataclass(frozen=True)
class _Shape:
    """What the clips of a batch have in common, and the archives that they can be of."""

    in_len: int
    length: int
    window: WindowSettings
    takers: Sequence[MixtureSource]

    @property
    def shares(self) -> Float64[np.ndarray, " taker"]:
        """How often a clip is of each archive."""
        weights = np.array([source.settings.weight for source in self.takers])
        return np.asarray(weights / weights.sum())


class Mixture(Dataset[RadarBatch]):
    """Clips of the training days of `data.sources`, cut or padded to square windows.

    A batch has one length and one size of window. A clip of it is drawn by archive (its weight),
    speed, first moment, resolution and place, and again up to `ATTEMPTS` times until its last input
    frame has the wet share `data.min_wet`; then turned, mirrored, reversed and scaled as the
    settings say and made to look like another radar's (`appearance`); last of all an outage may
    empty some input frames (`simulated_outages`). Levels are those of one Z-R relation; frames
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
        self.windows = settings.windows or (WindowSettings(side=settings.random_crop[0]),)
        self.lengths = settings.lengths or ((settings.in_len, settings.out_len),)
        self.sources = [MixtureSource(source, settings, calibration) for source in settings.sources]
        self._check()
        odds = np.array([window.weight for window in self.windows])
        self._odds = odds / odds.sum()
        self._wet_level = pixel_thresholds(calibration)[0] * PIXEL_LEVELS
        self._rates = calibration.rate_by_level()

    def bring_near(self) -> None:
        """See `Clips.bring_near`."""
        for source in self.sources:
            source.bring_near()

    def _check(self) -> None:
        """Every archive takes part, and every batch has archives."""
        for source in self.sources:
            source.check([sum(length) for length in self.lengths], self.windows)
        for length in self.lengths:
            for window in self.windows:
                if not self._shape(length, window).takers:
                    raise ConfigError(
                        f"data.sources: expected an archive with clips of {sum(length)} frames for "
                        f"windows of {window.side} pixels, found none; change data.lengths or "
                        "data.windows"
                    )

    def _shape(self, length: tuple[int, int], window: WindowSettings) -> _Shape:
        takers = [
            source
            for source in self.sources
            if source.speeds(sum(length)) and source.resolutions(window)
        ]
        return _Shape(length[0], sum(length), window, takers)

    def __len__(self) -> int:
        """Clips at each source's own speed, of the longest length that it has."""
        lengths = sorted((sum(length) for length in self.lengths), reverse=True)
        counts = [[len(source.starts(1, length)) for length in lengths] for source in self.sources]
        return sum(next(filter(None, of_source), 0) for of_source in counts)

    def batch_bytes(self, count: int) -> int:
        """What the tensors of the largest batch for so many of `train.batch_size` take."""
        length = max(sum(length) for length in self.lengths)
        return max(
            clip_bytes(count * window.clips, length, window.side, window.side)
            for window in self.windows
        )

    def data_hash(self) -> str:
        """Of all archives, as `identity.archive_hash`."""
        return digest([archive_hash(source.archive, self.settings) for source in self.sources])

    def __getitems__(self, tickets: Sequence[Ticket]) -> RadarBatch:
        """A batch; what `torch.utils.data.DataLoader` calls."""
        shared = tickets[0].generator()
        length = self.lengths[shared.integers(len(self.lengths))]
        window = self.windows[int(shared.choice(len(self.windows), p=self._odds))]
        shape = self._shape(length, window)
        drawn = [ticket.generator(number) for ticket in tickets for number in range(window.clips)]
        levels = np.zeros((len(drawn), shape.length, 1, window.side, window.side), dtype=np.uint8)
        mask = np.zeros(levels.shape, dtype=bool)
        times = np.empty((len(drawn), shape.length), dtype=np.int64)
        scales = []
        for clip, rng in enumerate(drawn):
            times[clip], scale = self._fill(rng, shape, levels[clip, :, 0], mask[clip, :, 0])
            scales.append(scale)
        return RadarBatch(
            torch.from_numpy(levels),
            torch.from_numpy(mask),
            torch.from_numpy(times),
            torch.zeros(times.shape, dtype=torch.bool),
            shape.in_len,
            scale=numbers(scales),
        )

    def _fill(
        self,
        rng: np.random.Generator,
        shape: _Shape,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"],
    ) -> tuple[NDArray[np.int64], Scale]:
        """Draw a clip into these arrays; returns its times and what is told of its scale."""
        side, shares = shape.window.side, shape.shares
        best = -1.0
        for _ in range(ATTEMPTS):
            source = shape.takers[int(rng.choice(len(shares), p=shares))]
            speed, times = source.moments(rng, shape.length)
            coarse = int(rng.choice(source.resolutions(shape.window)))
            part = _part(rng, source.archive.shape, side, coarse)
            wet = self._wet(source.read(times[shape.in_len - 1 : shape.in_len], part))
            if wet > best:
                best, chosen = wet, (source, speed, times, coarse, part)
            if wet >= self.settings.min_wet:
                break
        source, speed, times, coarse, part = chosen
        found = source.read(times, part)
        if coarse > 1:
            sampled = rng.random() < self.settings.augment.sampled
            found = _sampled(*found, coarse) if sampled else self._coarsened(*found, coarse)
        found = self._changed(rng, *found)
        found = as_another_radar(*found, rng, self.calibration, self.settings.augment.look)
        corner = [int(rng.integers(side - length + 1)) for length in found[0].shape[1:]]
        into = (
            slice(None),
            *(slice(at, at + size) for at, size in zip(corner, found[0].shape[1:], strict=True)),
        )
        levels[into], mask[into] = found
        if self.settings.augment.outage:
            empty(levels[: shape.in_len], rng, self.settings.augment.outage)
        told = rng.random(2) >= self.settings.augment.untold
        km = source.pixel_km
        scale = Scale(
            source.archive.description.step_minutes * speed if told[0] else None,
            km * coarse if told[1] and km is not None else None,
        )
        return times.astype("datetime64[m]").astype(np.int64), scale

    def _wet(self, frame: Frames) -> float:
        levels, mask = frame
        return float(((levels >= self._wet_level) & mask).sum() / max(mask.sum(), 1))

    def _coarsened(self, levels: np.ndarray, mask: np.ndarray, coarse: int) -> Frames:
        def blocks(frames: np.ndarray) -> np.ndarray:
            time, height, width = frames.shape
            return frames.reshape(time, height // coarse, coarse, width // coarse, coarse)

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


def _sampled(levels: np.ndarray, mask: np.ndarray, coarse: int) -> Frames:
    """One pixel of each block, as thumbnails of radar have it."""
    part = (slice(None), *(slice(coarse // 2, None, coarse),) * 2)
    return levels[part], mask[part]


def _part(
    rng: np.random.Generator, shape: tuple[int, int], side: int, coarse: int
) -> tuple[slice, slice]:
    """Rows and columns of a frame that become a window, or as much of one as there is."""
    edges = []
    for whole in shape:
        size = min(whole // coarse, side) * coarse
        first = int(rng.integers(whole - size + 1))
        edges.append(slice(first, first + size))
    return edges[0], edges[1]


def tickets(
    batch_size: int, seed: int, start: int, rank: int, ranks: int
) -> Iterator[list[Ticket]]:
    """For each step from `start` on, this rank's share of the batch."""
    step = start
    while True:
        yield [Ticket(seed, step, place) for place in range(rank, batch_size, ranks)]
        step += 1
