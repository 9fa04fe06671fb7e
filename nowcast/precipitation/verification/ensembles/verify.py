"""All scores of an ensemble, from one look at each frame of its members."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification.balance import pixel_thresholds
from nowcast.precipitation.verification.curves import Curve
from nowcast.precipitation.verification.ensembles.crps import (
    DISTANCES,
    UNITS,
    crps_curves,
    distances,
    spread_curves,
)
from nowcast.precipitation.verification.ensembles.events import count_table, event_curves, reached
from nowcast.precipitation.verification.ensembles.ranks import rank_counts, rank_curves
from nowcast.precipitation.verification.ensembles.wet import wet_blocks
from nowcast.precipitation.verification.fractions import SCALES, fraction_curves, window_sums
from nowcast.precipitation.verification.spectrum import mean_power, spectrum_curves


def member_sums(
    members: Float[Tensor, "batch member time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
    places: Sequence[int],
) -> Sums:
    """Sums over the clips of a batch; members are clipped to [0, 1], masked pixels change nothing.

    Per lead time the sums of `distances` (float64); ``exceeding`` (int64) per (threshold, count of
    members, event, lead time): pixels, see `count_table`; ``ranks`` (int64) per (rank, lead time);
    ``ensemble_fss_difference`` and ``ensemble_fss_reference`` as in `fraction_sums`, of the share
    of members; ``power_member`` of one member, as in `spectrum_sums`.

    Args:
        members: pixels in [0, 1], any number of members, the same for all that is to be merged.
        truth: pixels in [0, 1].
        mask: True where the truth is valid.
        calibration: Z-R relation of the pixels.
        places: a number of its own for each clip, not negative, e.g. when it begins. It seeds how
            ties of ranks are broken and which member's spectrum is taken, so that neither depends
            on the batch.

    Raises:
        ValueError: shapes do not fit, or there are not as many places as clips.
    """
    clips, count, leads = members.shape[:3]
    if members.shape[:1] + members.shape[2:] != truth.shape or truth.shape != mask.shape:
        raise ValueError(
            f"expected members and a mask of {tuple(truth.shape)}, as the truth is, with the "
            f"dimension of members second, found {tuple(members.shape)} and {tuple(mask.shape)}"
        )
    if len(places) != clips:
        raise ValueError(f"expected a place for each of {clips} clips, found {len(places)}")
    thresholds = pixel_thresholds(calibration)
    sums = {f"{name}_{unit}": np.zeros(leads) for unit in UNITS for name in DISTANCES}
    exceeding = np.zeros((len(THRESHOLD_NAMES), count + 1, 2, leads), np.int64)
    ranks = np.zeros((count + 1, leads), np.int64)
    fractions = np.zeros((2, len(THRESHOLD_NAMES), len(SCALES), leads))
    limits = np.array(thresholds, np.float32)[:, None]
    # Frame by frame: what is added does not depend on the batch.
    for clip, lead in np.ndindex(clips, leads):
        drawn = members[clip, :, lead, 0].detach().float().flatten(1).cpu().numpy()
        true = truth[clip, lead, 0].float().flatten().cpu().numpy()
        valid = mask[clip, lead, 0].flatten().cpu().numpy()
        rng = np.random.default_rng((places[clip], lead))
        counts = np.zeros((len(thresholds), len(true)), np.int32)
        for wet in wet_blocks(drawn, true, valid):
            for name, value in distances(wet, calibration).items():
                sums[name][lead] += value
            ranks[:, lead] += rank_counts(wet, rng)
            counts[:, wet.where] = reached(wet, thresholds)
        events = (true >= limits) & valid
        exceeding[..., lead] += count_table(counts, events, valid, count)
        frame = (-1, *truth.shape[-2:])
        warned, happened = (torch.from_numpy(each).view(frame) for each in (counts, events))
        difference, reference, _ = window_sums(mask[clip, lead, 0].cpu(), warned, happened, count)
        fractions[..., lead] += difference, reference
    one = [int(np.random.default_rng(place).integers(count)) for place in places]
    member = members[range(clips), one]
    return Sums(
        {
            **sums,
            "exceeding": exceeding,
            "ranks": ranks,
            "ensemble_fss_difference": fractions[0],
            "ensemble_fss_reference": fractions[1],
            "power_member": mean_power(member.clamp(0, 1), mask),
        }
    )


def comparable(sums: Sums) -> Sums:
    """What `crps_curves` and `event_curves` need: of a forecast that is no ensemble, as of one
    member, from its own sums of `verify_frames`."""
    if "exceeding" in sums.values:
        return sums
    shape = sums["hits"].shape
    exceeding = np.empty((shape[0], 2, 2, *shape[1:]), np.int64)
    for place, name in enumerate(("correct_negatives", "misses", "false_alarms", "hits")):
        exceeding[:, place // 2, place % 2] = sums[name]
    errors = {"pixel": sums["mae"], "mm_h": sums["rate_absolute"]}
    alone = {f"member_error_{unit}": error for unit, error in errors.items()}
    alone |= {f"member_distance_{unit}": np.zeros_like(error) for unit, error in errors.items()}
    return Sums({**sums.values, **alone, "exceeding": exceeding})


def ensemble_curves(sums: Sums) -> dict[str, Curve]:
    """Scores by lead time of sums of `verify_frames` and, of an ensemble, of `member_sums` too.

    Of any forecast those of `crps_curves` and `event_curves`, so that ensembles and others can be
    compared; of an ensemble also those of `spread_curves` and `rank_curves`, ``ensemble_fss/T/n``,
    which is `fraction_curves` of the probability (Duc et al. 2013,
    doi:10.3402/tellusa.v65i0.18171), and ``member_spectrum/n``, `spectrum_curves` of one member.
    """
    shared = comparable(sums)
    curves = crps_curves(shared) | event_curves(shared)
    if "ranks" not in sums.values:
        return curves
    return (
        curves
        | spread_curves(sums)
        | rank_curves(sums)
        | fraction_curves(sums, "ensemble_fss")
        | spectrum_curves(sums, "member")
    )
