"""Time-lagged flow: what the extrapolations of the last few frames say of the same time."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation, Inflow
from nowcast.precipitation.forecasters.flow.motion import Method
from nowcast.precipitation.units import Calibration

LAGS = 6
LEAST_FRAMES = 2  # for a motion


class LaggedFlow(nn.Module):
    """The ensemble of `Extrapolation` from the last frame, the one before it and so on.

    Member k has seen all but the last k frames and forecasts k steps further, so that all members
    are of the same times: the poor man's ensemble of whoever has a deterministic forecast (Hoffman
    and Kalnay 1983, doi:10.3402/tellusa.v35i2.11425). Older members are worse, so they are not
    exchangeable. Of few frames there are fewer members, each from at least two.

    Its forecast is the mean of the members' rain rates.

    Args:
        out_len: frames to forecast.
        calibration: the archive's Z-R relation.
        motion: method of optical flow.
        inflow: what to put where the source is unknown, see `Extrapolation`.
        lags: members, at most.

    Raises:
        ValueError: a setting is none of those, or an unmasked pixel is not a number.
    """

    def __init__(
        self,
        out_len: int,
        calibration: Calibration,
        motion: Method = "dis",
        inflow: Inflow = "persist",
        lags: int = LAGS,
    ) -> None:
        super().__init__()
        if lags < 1:
            raise ValueError(f"expected lags >= 1, found {lags}")
        self.calibration = calibration
        self.member_count = lags
        self.flows = nn.ModuleList(
            Extrapolation(out_len + lag, motion, inflow) for lag in range(lags)
        )

    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Forecast `out_len` frames."""
        return mean_of_rates(self.members(frames, mask), self.calibration)

    def members(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
    ) -> Float[Tensor, "batch member out_len 1 height width"]:
        """See `Ensemble`; the newest first, nothing is random."""
        length = frames.shape[1]
        most = min(self.member_count, max(1, length - LEAST_FRAMES + 1))
        if count is not None and not 1 <= count <= most:
            raise ConfigError(
                f"time-lagged flow: expected 1 to {most} members from {length} input frames, found "
                f"{count}; give more frames or ask for fewer members"
            )
        drawn = []
        for lag in range(most if count is None else count):
            seen = None if mask is None else mask[:, : length - lag]
            drawn.append(self.flows[lag](frames[:, : length - lag], seen)[:, lag:])
        return torch.stack(drawn, dim=1)

    def single(
        self,
        members: Float[Tensor, "batch member out_len 1 height width"],
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """The mean of the members' rain rates, as pixels."""
        return mean_of_rates(members, self.calibration)


def mean_of_rates(
    members: Float[Tensor, "batch member time 1 height width"], calibration: Calibration
) -> Float[Tensor, "batch time 1 height width"]:
    """The mean rain rate of the members, as pixels in [0, 1]."""
    # Member by member: the rates of all at once would be the largest array of a forecast.
    each = (calibration.rate_from_pixel(member.cpu().numpy()) for member in members.unbind(1))
    mean = sum(each, np.zeros(())) / members.shape[1]
    return torch.from_numpy(calibration.pixel_from_rate(mean)).to(members)
