"""The full set of scores, for comparing forecasters; while training the benchmark's suffice."""

from jaxtyping import Bool, Float
from torch import Tensor

from nowcast.core.scoring.sums import Scores, Sums
from nowcast.precipitation.units import Calibration
from nowcast.precipitation.verification.curves import as_scores
from nowcast.precipitation.verification.ensembles.verify import ensemble_curves
from nowcast.precipitation.verification.fitted import Thresholds, fitted_curves
from nowcast.precipitation.verification.fractions import SCALES, fraction_curves, fraction_sums
from nowcast.precipitation.verification.image import image_curves, image_sums
from nowcast.precipitation.verification.matched import level_sums, matched_curves
from nowcast.precipitation.verification.rain_rates import rain_rate_curves, rain_rate_sums
from nowcast.precipitation.verification.scores import (
    benchmark_curves,
    benchmark_support,
    score_frames,
)
from nowcast.precipitation.verification.spectrum import spectrum_curves, spectrum_sums


def verify_frames(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
) -> Sums:
    """What `score_frames` sums, and those of FSS, spectra, image scores, rain rates and levels.

    Predictions are clipped to [0, 1]; masked pixels change nothing. Frames of all batches that are
    to be merged must have one size.
    """
    frames = prediction, truth, mask
    parts = (
        score_frames(*frames, calibration),
        fraction_sums(*frames, calibration),
        spectrum_sums(*frames),
        image_sums(*frames),
        rain_rate_sums(*frames, calibration),
        level_sums(*frames, calibration),
    )
    return Sums({name: value for part in parts for name, value in part.values.items()})


def read_verification(
    sums: Sums, step_minutes: int, calibration: Calibration, thresholds: Thresholds | None = None
) -> Scores:
    """Every score per lead time and in the mean over lead times, with its support.

    Formulas: `read_scores`, `fraction_curves`, `spectrum_curves`, `image_curves`,
    `rain_rate_curves`, `matched_curves`, `ensemble_curves`; with the forecast's own thresholds
    `fitted_curves` too. Of an ensemble the sums of `member_sums` are among them.
    """
    curves = (
        benchmark_curves(sums)
        | fraction_curves(sums)
        | spectrum_curves(sums)
        | image_curves(sums)
        | rain_rate_curves(sums, calibration)
        | matched_curves(sums, calibration)
        | ensemble_curves(sums)
    )
    if thresholds is not None:
        curves |= fitted_curves(sums, calibration, thresholds)
    support = benchmark_support(sums)
    support |= {f"windows/{n}": sums["fss_windows"][row] for row, n in enumerate(SCALES)}
    support |= {name: sums[name] for name in ("gdl_pairs", "ssim_windows")}
    return as_scores(curves, int(sums["clips"]), support, step_minutes)
