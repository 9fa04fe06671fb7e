"""What the rain in an archive is like, in figures that compare archives: `nowcast data info ROOT`.

Moments are sampled in stretches without a gap, so that neighbours in time exist. Every figure is
of unmasked pixels: True in the frame's mask and in the exclude mask, where the archive has them.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.days import SPLITS, Split
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.episodes import missing_frames
from nowcast.precipitation.archive.reader import ArchiveReader
from nowcast.precipitation.preparation.rain_statistics import (
    QUANTILES,
    SLOPE_WAVELENGTHS_PX,
    STRETCH_FRAMES,
    anomaly,
    decorrelation_steps,
    flow_speed,
    lag_products,
    radial_power,
    rate_quantiles,
    slope_limit,
    spectrum_slope,
    stretches,
)
from nowcast.precipitation.units import PIXEL_LEVELS, THRESHOLDS_MM_H, Calibration

WET_MM_H = THRESHOLDS_MM_H[0]  # a pixel is wet from here on
WET_FRAME_SHARE = 0.01  # a frame is wet if this share of its unmasked pixels is
NO_RAIN = "undefined (no rain)"


@dataclass(frozen=True)
class ArchiveInfo:
    """Figures of one archive; None where it has too little rain (or lacks the file) to tell.

    Args:
        name: as the archive states it.
        credit: who made the data.
        origin: where step, frame size and Z-R come from, `Archive.origin`.
        frames: frame files.
        first: the first moment, UTC.
        last: the last moment, UTC.
        step_minutes: time between frames.
        missing: frames missing within episodes, see `episodes.missing_frames`.
        shape: (height, width) of a frame.
        pixel: size of a pixel in words, or why it is not known.
        calibration: the Z-R relation.
        days: days per split; None without day lists.
        usable_share: share of pixels the exclude mask leaves; None without an exclude mask.
        sampled: frames that the figures below come from.
        wet_share: share of unmasked pixels with at least `WET_MM_H`.
        wet_quantiles_mm_h: rain rate of wet pixels at `QUANTILES`.
        max_mm_h: largest rain rate.
        slope: see `spectrum_slope`; the mean power spectrum of the wet frames.
        speed_px: median over pairs of neighbouring wet frames of `flow_speed`, pixels a step.
        decorrelation_minutes: see `lag_products` and `decorrelation_steps`; inf if longer than
            a stretch.
        note: what must be said beside the figures in mm/h, `Description.note`.
    """

    name: str
    credit: str
    origin: str
    frames: int
    first: np.datetime64
    last: np.datetime64
    step_minutes: int
    missing: int
    shape: tuple[int, int]
    pixel: str
    calibration: Calibration
    days: dict[Split, int] | None
    usable_share: float | None
    sampled: int
    wet_share: float
    wet_quantiles_mm_h: tuple[float, ...] | None
    max_mm_h: float
    slope: float | None
    speed_px: float | None
    decorrelation_minutes: float | None
    note: str | None

    def rows(self) -> list[tuple[str, str]]:
        """(label, value with its unit), for a table."""
        days, wet = self.days, self.wet_quantiles_mm_h
        shortest, longest = SLOPE_WAVELENGTHS_PX
        wavelengths = f"{shortest:g}-{slope_limit(self.shape, longest):g} px"
        limit = (STRETCH_FRAMES - 1) * self.step_minutes
        return [
            ("name", self.name),
            ("credit", self.credit),
            ("described by", self.origin),
            ("frames", str(self.frames)),
            ("first frame", f"{str(self.first).replace('T', ' ')} UTC"),
            ("last frame", f"{str(self.last).replace('T', ' ')} UTC"),
            ("step", f"{self.step_minutes} min"),
            ("missing within episodes", str(self.missing)),
            ("frame size", f"{self.shape[0]} x {self.shape[1]} px"),
            ("pixel size", self.pixel),
            ("Z-R relation", f"Z = {self.calibration.zr_a:g} R^{self.calibration.zr_b:g}"),
            ("days", ", ".join(f"{days[s]} {s}" for s in SPLITS) if days else "none"),
            ("usable pixels", _shown(self.usable_share, "{:.1%}", "not stated (no exclude mask)")),
            ("frames sampled below", str(self.sampled)),
            (f"wet pixels (>= {WET_MM_H:g} mm/h)", f"{self.wet_share:.2%}"),
            *(
                (f"rate of wet pixels, {q * 100:g} %", f"{wet[i]:.2f} mm/h" if wet else NO_RAIN)
                for i, q in enumerate(QUANTILES)
            ),
            ("largest rate", f"{self.max_mm_h:.1f} mm/h"),
            (f"spectrum slope, {wavelengths}", _shown(self.slope, "{:.2f}", NO_RAIN)),
            ("motion", _shown(self.speed_px, "{:.2f} px a step", NO_RAIN)),
            (
                "decorrelation time",
                f"over {limit} min"
                if self.decorrelation_minutes == math.inf
                else _shown(self.decorrelation_minutes, "{:.0f} min", NO_RAIN),
            ),
        ]


def _shown(value: float | None, form: str, otherwise: str) -> str:
    return otherwise if value is None else form.format(value)


def archive_info(archive: ArchiveReader, max_frames: int = 500) -> ArchiveInfo:
    """The figures of an archive, from at most `max_frames` times spread evenly over it.

    Raises:
        ConfigError: `max_frames` is less than 2.
        DataError: a sampled frame, a mask, the exclude mask or a day list is damaged.
    """
    if max_frames < 2:
        raise ConfigError(f"max_frames: expected at least 2, found {max_frames}")
    usable = _usable(archive)
    has_masks = archive.has_masks
    calibration = archive.calibration
    rate_mm_h = calibration.rate_by_level()

    counts = np.zeros(PIXEL_LEVELS + 1, dtype=np.int64)
    power: list[Float[np.ndarray, " wavenumber"]] = []
    speeds: list[float] = []
    products = np.zeros((2, STRETCH_FRAMES))
    sampled = 0
    for stretch in stretches(archive.moments, archive.step, max_frames):
        anomalies = []
        previous: tuple[UInt8[np.ndarray, "height width"], Bool[np.ndarray, "height width"]] | None
        previous = None
        for moment in stretch:
            mask = archive.mask(moment) if has_masks else np.ones(archive.shape, dtype=bool)
            if usable is not None:
                mask &= usable
            levels = np.where(mask, archive.frame(moment), np.uint8(0))
            counts += np.bincount(levels[mask], minlength=len(counts))
            wet = (rate_mm_h[levels] >= WET_MM_H) & mask
            is_wet = bool(wet.any()) and wet.sum() >= WET_FRAME_SHARE * mask.sum()
            field = anomaly(levels, mask)
            anomalies.append(field if is_wet else np.zeros_like(field))
            if is_wet:
                power.append(radial_power(field))
                if previous is not None:
                    speed = flow_speed(previous[0], levels, previous[1] & wet)
                    speeds += [] if speed is None else [speed]
            previous = (levels, wet) if is_wet else None
        products[:, : len(stretch)] += lag_products(np.stack(anomalies))
        sampled += len(stretch)

    steps = decorrelation_steps(products)
    wet_counts = np.where(rate_mm_h >= WET_MM_H, counts, 0)
    return ArchiveInfo(
        name=archive.description.name,
        credit=archive.description.credit,
        origin=archive.origin,
        frames=len(archive.moments),
        first=archive.moments[0],
        last=archive.moments[-1],
        step_minutes=archive.description.step_minutes,
        missing=missing_frames(archive.moments, archive.step),
        shape=archive.shape,
        pixel=_pixel(archive.description),
        calibration=calibration,
        days=_days(archive),
        usable_share=None if usable is None else float(usable.mean()),
        sampled=sampled,
        wet_share=float(wet_counts.sum() / max(1, counts.sum())),
        wet_quantiles_mm_h=rate_quantiles(wet_counts, rate_mm_h),
        max_mm_h=float(rate_mm_h[counts > 0].max(initial=0.0)),
        slope=spectrum_slope(np.mean(power, axis=0), archive.shape) if power else None,
        speed_px=float(np.median(speeds)) if speeds else None,
        decorrelation_minutes=None if steps is None else steps * archive.description.step_minutes,
        note=archive.description.note,
    )


def _pixel(description: Description) -> str:
    if description.grid_fault is not None:
        return description.grid_fault
    sides = description.pixel_km
    return "not stated (no grid)" if sides is None else f"{sides[0]:.3g} x {sides[1]:.3g} km"


def _usable(archive: ArchiveReader) -> Bool[np.ndarray, "height width"] | None:
    try:
        return archive.usable
    except ConfigError:
        return None


def _days(archive: ArchiveReader) -> dict[Split, int] | None:
    try:
        return {split: len(days) for split, days in archive.days.items()}
    except ConfigError:
        return None
