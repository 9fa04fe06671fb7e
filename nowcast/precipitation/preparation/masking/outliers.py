"""Which places are unlike the rest: Mahalanobis distance, robust to many that are unlike.

Source of the idea: HKO-7 (Shi et al. 2017, "Deep Learning for Precipitation Nowcasting", on
denoising); `static_mask` says where and why this departs from it.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64

OUTLYING_SD = 3.0  # as in the paper
CORE_SHARE = 0.75  # of the places: those that a first fit is held to
ROUNDS = 50


def outliers(
    features: Float32[np.ndarray, "place feature"], ridge: float
) -> Bool[np.ndarray, " place"]:
    """True where a feature vector lies far from the rest, in the distance that the rest defines.

    The rest is found by turns: distances under the mean and covariance of those kept, then the
    limit, mean plus `OUTLYING_SD` standard deviations of the logarithm of the distances kept.

    Args:
        features: shares of frames per bin.
        ridge: standard deviation that every feature has at least.
    """
    middle = np.median(features, axis=0)
    scale = np.hypot(features.std(axis=0), np.float32(ridge))
    distance = np.sqrt((((features - middle) / scale) ** 2).sum(axis=1))
    for _ in range(ROUNDS):
        kept = distance <= np.quantile(distance, CORE_SHARE)
        before, distance = distance, _mahalanobis(features, kept, ridge)
        if np.allclose(before, distance, rtol=1e-3):
            break
    for _ in range(ROUNDS):
        logarithm = np.log(np.maximum(distance, 1e-6))
        limit = logarithm[kept].mean() + OUTLYING_SD * logarithm[kept].std()
        before, kept = kept, logarithm <= limit
        if (before == kept).all():
            break
        distance = _mahalanobis(features, kept, ridge)
    return np.asarray(~kept)


def _mahalanobis(
    features: Float32[np.ndarray, "place feature"], kept: Bool[np.ndarray, " place"], ridge: float
) -> Float64[np.ndarray, " place"]:
    """Distance of every place under the mean and the ridged covariance of those kept."""
    mean = features[kept].mean(axis=0)
    centred = features - mean
    core = centred[kept]
    covariance = (core.T @ core).astype(np.float64) / len(core) + ridge**2 * np.eye(len(mean))
    variance, axes = np.linalg.eigh(covariance)
    whitened = centred @ (axes / np.sqrt(np.maximum(variance, ridge**2))).astype(np.float32)
    return np.asarray(np.sqrt(np.einsum("pf,pf->p", whitened, whitened, dtype=np.float64)))
