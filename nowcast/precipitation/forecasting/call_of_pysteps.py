"""What a call written for a method of pysteps says beside the rain, and what of it is ignored."""

from collections.abc import Mapping
from numbers import Real

import numpy as np
from jaxtyping import Bool

# Of the deterministic and ensemble nowcasts of pysteps 1.21, beside those that are used here.
# fmt: off
KEYWORDS = frozenset((
    "acf_window_radius", "add_perturbations", "apply_rainrate_mask", "ar_order",
    "ar_window_radius", "ari_order", "bandpass_filter_method", "callback", "conditional",
    "decomp_method", "domain", "errdist_window_radius", "extrap_kwargs", "extrap_method",
    "feature_kwargs", "feature_method", "fft_method", "filter_kwargs", "kernel_type",
    "localization_window_radius", "mask_kwargs", "mask_method", "max_num_features",
    "measure_time", "metadata", "n_cascade_levels", "noise_kwargs",
    "noise_method", "noise_stddev_adj", "norain_thr", "num_workers", "overlap", "pert_thrs",
    "precip_thr", "probmatching_method", "r_vil_window_radius", "rainrate", "return_output",
    "slope", "use_multiprocessing", "vel_pert_kwargs", "vel_pert_method", "war_thr",
    "win_size",
))
# fmt: on


def check_keywords(others: Mapping[str, object], timestep: object, kmperpixel: object) -> None:
    """Raise TypeError for a keyword that no method of pysteps has, ValueError for a time step or a
    pixel that is no number above 0."""
    unknown = [name for name in others if name not in KEYWORDS]
    if unknown:
        raise TypeError(
            f"forecast() got an unexpected keyword argument {unknown[0]!r}; it knows weights, "
            f"zr_a, zr_b, timestep (minutes), kmperpixel, n_ens_members, seed, and takes but "
            f"ignores {', '.join(sorted(KEYWORDS))}"
        )
    for name, value in (("timestep", timestep), ("kmperpixel", kmperpixel)):
        if value is not None and not (isinstance(value, Real) and 0 < float(value) < float("inf")):
            raise ValueError(f"{name}: expected a number above 0, found {value!r}")


def notes_of_keywords(others: Mapping[str, object], name: str) -> list[str]:
    """A sentence that names the keywords which the weights of that name do not have."""
    if not others:
        return []
    return [f"{', '.join(others)}: ignored, since {name} has no such settings"]


def notes_of_gaps(data: Bool[np.ndarray, "time height width"]) -> list[str]:
    """What a user must know of frames without data."""
    present = np.flatnonzero(data.any(axis=(1, 2)))
    if not len(present):
        return [
            "precip: no data in any frame (all NaN or masked): the forecast is NaN everywhere; "
            "were the frames read and converted right?"
        ]
    late = len(data) - 1 - int(present[-1])
    if late:
        return [
            f"precip: no data in the newest {late} of {len(data)} frames; the forecast rests on "
            "older ones"
        ]
    return []
