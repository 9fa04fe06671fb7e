"""Figures of rain fields: pure functions from arrays to numbers."""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.units import PIXEL_LEVELS

STRETCH_FRAMES = 24  # two hours of 5-minute frames, several decorrelation times of rain
SLOPE_WAVELENGTHS_PX = (4.0, 32.0)  # longer than what interpolation blurs, shorter than the frame
LEAST_SIDE_PX = 16  # what DIS needs: patches of 8 pixels at half the resolution
QUANTILES = (0.5, 0.9, 0.99, 0.999)


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

    The flow is OpenCV's DIS (Kroeger et al. 2016, medium preset), which needs `LEAST_SIDE_PX`:
    smaller frames are continued by their edge. None without a wet pixel.
    """
    if not wet.any():
        return None
    height, width = first.shape
    padding = [(0, max(0, LEAST_SIDE_PX - side)) for side in first.shape]
    first, second = (np.pad(frame, padding, mode="edge") for frame in (first, second))
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = method.calc(first, second, np.zeros((*first.shape, 2), np.float32))
    speed = np.hypot(flow[..., 0], flow[..., 1])[:height, :width]
    return float(np.median(speed[wet]))


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
