"""What the rain in an archive is like, in figures that compare archives: `nowcast data info ROOT`.

Moments are sampled in stretches without a gap, so that neighbours in time exist. Every figure is
of unmasked pixels: True in the frame's mask and in the exclude mask, where the archive has them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive import Archive
from nowcast.precipitation.days import SPLITS, Split
from nowcast.precipitation.frames import MASK_FOLDER, Moments
from nowcast.precipitation.units import PIXEL_LEVELS, THRESHOLDS_MM_H, Calibration

WET_MM_H = THRESHOLDS_MM_H[0]  # a pixel is wet from here on
WET_FRAME_SHARE = 0.01  # a frame is wet if this share of its unmasked pixels is
STRETCH_FRAMES = 24  # two hours of 5-minute frames, several decorrelation times of rain
EPISODE_GAP_STEPS = 6  # a longer gap parts two episodes: nothing is missing there
SLOPE_WAVELENGTHS_PX = (4.0, 32.0)  # longer than what interpolation blurs, shorter than the frame
QUANTILES = (0.5, 0.9, 0.99, 0.999)
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
        missing: frames missing in gaps of at most `EPISODE_GAP_STEPS` steps.
        shape: (height, width) of a frame.
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
            ("missing frames", str(self.missing)),
            ("frame size", f"{self.shape[0]} x {self.shape[1]} px"),
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


def archive_info(archive: Archive, max_frames: int = 500) -> ArchiveInfo:
    """The figures of an archive, from at most `max_frames` moments spread evenly over it.

    Raises:
        ConfigError: `max_frames` is less than 2.
        DataError: a sampled frame, a mask, the exclude mask or a day list is damaged.
    """
    if max_frames < 2:
        raise ConfigError(f"max_frames: expected at least 2, found {max_frames}")
    usable = _usable(archive)
    has_masks = (archive.root / MASK_FOLDER).is_dir()
    calibration = archive.calibration
    rate_mm_h = calibration.rate_from_pixel(np.arange(PIXEL_LEVELS + 1) / PIXEL_LEVELS)

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
    )


def _usable(archive: Archive) -> Bool[np.ndarray, "height width"] | None:
    try:
        return archive.usable
    except ConfigError:
        return None


def _days(archive: Archive) -> dict[Split, int] | None:
    try:
        return {split: len(days) for split, days in archive.days.items()}
    except ConfigError:
        return None


def missing_frames(moments: Moments, step: np.timedelta64) -> int:
    """Frames that gaps of at most `EPISODE_GAP_STEPS` steps leave out."""
    steps = np.rint(np.diff(moments) / step).astype(int)
    return int((steps[(steps > 1) & (steps <= EPISODE_GAP_STEPS)] - 1).sum())


def stretches(moments: Moments, step: np.timedelta64, max_frames: int) -> Iterator[Moments]:
    """Runs of at most `STRETCH_FRAMES` moments, one step apart, evenly spread over an archive."""
    length = min(STRETCH_FRAMES, max_frames)
    runs = np.split(moments, np.flatnonzero(np.diff(moments) != step) + 1)
    pieces = [run[start : start + length] for run in runs for start in range(0, len(run), length)]
    if len(moments) <= max_frames:
        yield from pieces
        return
    count = min(max_frames // length, len(pieces))
    for number in range(count):
        yield pieces[int((number + 0.5) * len(pieces) / count)]


def rate_quantiles(
    wet_counts: Int[np.ndarray, " level"], rate_mm_h: Float[np.ndarray, " level"]
) -> tuple[float, ...] | None:
    """Rain rates in mm/h at `QUANTILES`: the lowest level that so many pixels do not exceed.

    Args:
        wet_counts: wet pixels at each 8-bit level.
        rate_mm_h: rain rate of each level, ascending.
    """
    below = np.cumsum(wet_counts)
    if below[-1] == 0:
        return None
    positions = np.searchsorted(below, np.array(QUANTILES) * below[-1])
    return tuple(float(rate) for rate in rate_mm_h[positions])


def anomaly(
    levels: UInt8[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    """Pixels in [0, 1] (linear in dBZ) less the mean of the unmasked; 0 where masked."""
    pixels = levels.astype(np.float64) / PIXEL_LEVELS
    mean = float(pixels[mask].mean()) if mask.any() else 0.0
    return np.where(mask, pixels - mean, 0.0)


def radial_power(field: Float[np.ndarray, "height width"]) -> Float[np.ndarray, " wavenumber"]:
    """Power spectrum under a Hann window, averaged over rings of one wavenumber.

    Ring n holds the wavelengths around side / n pixels, side the shorter of height and width.
    """
    height, width = field.shape
    side = min(height, width)
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    power = np.abs(np.fft.fft2(field * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    ring = np.rint(frequency * side).astype(int).ravel()
    total = np.bincount(ring, weights=power.ravel())
    return (total / np.maximum(1, np.bincount(ring)))[: side // 2 + 1]


def slope_limit(shape: tuple[int, int], longest: float) -> float:
    """The longest wavelength in pixels that a slope is fitted to: two of it fit into a frame."""
    return min(longest, min(shape) / 2)


def spectrum_slope(power: Float[np.ndarray, " wavenumber"], shape: tuple[int, int]) -> float | None:
    """Exponent of the power law fitted to a radially averaged power spectrum.

    A least-squares line through log power over log wavenumber, every ring one point, between the
    wavelengths `SLOPE_WAVELENGTHS_PX` (at most half the frame). Rain in dBZ: about -2 to -3.5.
    None where there is no power to fit or a frame has fewer than three such rings.

    Args:
        power: of `radial_power`.
        shape: (height, width) of the frames it comes from.
    """
    shortest, longest = SLOPE_WAVELENGTHS_PX
    numbers = np.arange(1, len(power))
    wavelength = min(shape) / numbers
    fitted = numbers[(wavelength >= shortest) & (wavelength <= slope_limit(shape, longest))]
    if len(fitted) < 3 or not bool(np.all(power[fitted] > 0)):
        return None
    return float(np.polyfit(np.log(fitted), np.log(power[fitted]), 1)[0])


def flow_speed(
    first: UInt8[np.ndarray, "height width"],
    second: UInt8[np.ndarray, "height width"],
    wet: Bool[np.ndarray, "height width"],
) -> float | None:
    """Median speed over wet pixels of the flow between two 8-bit frames, in pixels.

    The flow is OpenCV's DIS (Kroeger et al. 2016, medium preset). None without a wet pixel.
    """
    if not wet.any():
        return None
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = method.calc(first, second, np.zeros((*first.shape, 2), np.float32))
    return float(np.median(np.hypot(flow[..., 0], flow[..., 1])[wet]))


def lag_products(
    anomalies: Float[np.ndarray, "time height width"],
) -> Float[np.ndarray, "2 time"]:
    """Sums that a correlation at fixed points comes from; they add over stretches.

    Over all pairs of fields `lag` steps apart: row 0 holds the inner products, row 1 the
    products of the norms. A pair with an all-zero field adds nothing to either.
    """
    flat = anomalies.reshape(len(anomalies), -1)
    inner = flat @ flat.T
    norms = np.sqrt(np.diagonal(inner))
    outer = np.outer(norms, norms)
    lags = range(len(flat))
    return np.array([[np.trace(array, lag) for lag in lags] for array in (inner, outer)])


def decorrelation_steps(products: Float[np.ndarray, "2 lag"]) -> float | None:
    """Steps until the correlation at fixed points (Eulerian) falls below 1/e, interpolated.

    The correlation at a lag is row 0 over row 1 of summed `lag_products`: what is left of the
    pattern after it moved and changed. Inf if it stays above at every lag there is, None if there
    is no pair of fields with any variance.
    """
    lags = np.flatnonzero(products[1] > 0)
    if len(lags) < 2:
        return None
    correlation = products[0, lags] / products[1, lags]
    fallen = np.flatnonzero(correlation < math.exp(-1))
    if len(fallen) == 0:
        return math.inf
    after = fallen[0]
    before = after - 1
    share = (correlation[before] - math.exp(-1)) / (correlation[before] - correlation[after])
    return float(lags[before] + share * (lags[after] - lags[before]))
