"""What archive a user wants of a source, and which wishes cannot be met."""

from dataclasses import dataclass

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import LONGEST_STEP_MINUTES
from nowcast.precipitation.sources.field import Request
from nowcast.precipitation.sources.stated_unit import said_measure
from nowcast.precipitation.units import Calibration


@dataclass(frozen=True)
class Target:
    """What archive to make of a source.

    Args:
        calibration: the Z-R relation between rain rate and pixel; None is HKO-7's for rates and
            sums, and an error for dBZ. A rate comes back from a pixel by the relation that wrote
            it, so for rates any would do; with HKO-7's a pixel means the same rate in every
            archive, and a model trained on one reads the other. Reflectivity was measured: which
            rate it means is the radar's, and no default is true.
        accumulation_minutes: over which rain was summed, where the source does not state it.
        crop: (first row, end row, first column, end column), ends exclusive, row 0 north.
        block_mean: side of the blocks averaged over, pixels, after the crop. The mean is of rain
            rates, not of dBZ, so that the rain of an area is kept. A block with any pixel without
            data has none: half a mean would be a biased one.
        step_minutes: between frames; None is the commonest gap.
        no_data: a value that means no data, besides NaN, as the source has it.
        valid_share: share of the frames; the exclude mask leaves a pixel with data in so many.
            None is what the archive that is added to has, else `masks.VALID_SHARE`.
        skip_damaged: leave out, and list, what cannot be read.
        append: add to an archive that is there.
        name: of the archive; that of the source if None.
        credit: who made the data and must be named.
    """

    calibration: Calibration | None = None
    accumulation_minutes: float | None = None
    crop: tuple[int, int, int, int] | None = None
    block_mean: int = 1
    step_minutes: int | None = None
    no_data: float | None = None
    valid_share: float | None = None
    skip_damaged: bool = False
    append: bool = False
    name: str | None = None
    credit: str = "not stated"


def check_target(request: Request, target: Target) -> None:
    """Raise `ConfigError` for options that are out of range or contradict each other."""
    said = said_measure(request)
    if target.block_mean < 1:
        raise ConfigError(f"--block-mean: expected at least 1, found {target.block_mean}")
    if target.step_minutes is not None and not 1 <= target.step_minutes <= LONGEST_STEP_MINUTES:
        raise ConfigError(
            f"--step: expected 1 to {LONGEST_STEP_MINUTES} minutes, found {target.step_minutes}"
        )
    if target.valid_share is not None and not 0 < target.valid_share <= 1:
        raise ConfigError(
            f"--valid-share: expected more than 0 and at most 1, found {target.valid_share}"
        )
    if target.accumulation_minutes is not None:
        if said is not None and said.unit != "mm":
            raise ConfigError(
                "--accumulation-minutes: belongs to --unit mm, the sum of rain over them"
            )
        if not 0 < target.accumulation_minutes < np.inf:
            raise ConfigError(
                f"--accumulation-minutes: expected more than 0, found {target.accumulation_minutes}"
            )
    if said is not None and said.unit == "dBZ" and target.calibration is None:
        raise ConfigError(
            "--zr: --unit dBZ needs the radar's own Z-R relation, which says what rain rate a "
            "reflectivity means; give A,B of Z = A R^B, e.g. 200,1.6 (Marshall and Palmer)"
        )
    if target.no_data is not None and np.isnan(target.no_data):
        raise ConfigError("--no-data: NaN always means no data; leave it out")
