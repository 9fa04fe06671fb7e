"""A forecaster that starts from optical flow and learns what becomes of the rain on its way."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasters.bound import CELL_PX, bounded
from nowcast.precipitation.forecasters.encoder_forecaster import (
    CellName,
    EncoderForecaster,
    StagedSettings,
)
from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation, motions, with_data
from nowcast.precipitation.forecasters.graph import Graph
from nowcast.precipitation.units import Calibration

SCALES_PX = (2, 4, 8, 16)  # where one band of the extrapolation ends and the next begins


class Lagrangian(nn.Module):
    """The optical-flow extrapolation of the last frame, and a network's departure from it.

    A recurrent network must learn from its archive that rain moves; on a small one it does not, and
    loses to optical flow. Here motion is given (`Extrapolation`, by OpenCV's DIS flow), and at each
    lead time the network says what becomes of each of the extrapolation's spatial bands:

    ``forecast = extrapolation + sum_k change_k * band_k``

    with the changes from the network's head, one number per band and pixel, and no more of it than
    `bound` allows. So rain grows, decays and blurs, but does not begin far from any. That small
    scales of rain are lost first is what S-PROG forecasts by (Seed 2003,
    doi:10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2), there one number per band for a whole
    frame. The head's weights are zero when training begins, so that it begins from the
    extrapolation, to the bit.

    The network sees the extrapolation too, as the input of its coarsest forecaster stage. There is
    no gradient through the flow. It is estimated on the CPU: where a batch is read, or else in the
    forecast.

    Args:
        network: a guided encoder-forecaster with `CHANNELS` channels out; of any cell.

    Shape:
        ``batch in_len 1 height width`` -> ``batch out_len 1 height width``, pixels in [0, 1]
        (outputs are not clipped).

    Raises:
        ValueError: the network takes no guide, or has another number of channels out.
    """

    CHANNELS = 1 + len(SCALES_PX)

    def __init__(self, network: EncoderForecaster) -> None:
        super().__init__()
        if not network.guided or network.head.out_channels != self.CHANNELS:
            raise ValueError(
                f"expected a network with guided=True and channels_out={self.CHANNELS}, found "
                f"guided={network.guided} and channels_out={network.head.out_channels}"
            )
        self.extrapolation = Extrapolation(network.out_len)
        self.network = network
        assert network.head.bias is not None
        nn.init.zeros_(network.head.weight)
        nn.init.zeros_(network.head.bias)

    def gradient_checkpointing_enable(self, _: object = None) -> None:
        """See `EncoderForecaster`."""
        self.network.gradient_checkpointing_enable()

    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
        motion: Float[Tensor, "batch 2 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Forecast `out_len` frames, along a motion in pixels a step or its own estimate."""
        extrapolation, known = self.extrapolation.with_sources(frames, mask, motion)
        change: Tensor = self.network(frames, mask, extrapolation)
        forecast = extrapolation
        for number, band in enumerate(bands(extrapolation)):
            part = change[:, :, number : number + 1]
            forecast = torch.addcmul(forecast, part.to(forecast.dtype), band)
        return _bounded(forecast, extrapolation, known)


def _bounded(
    forecast: Float[Tensor, "batch time 1 height width"],
    extrapolation: Float[Tensor, "batch time 1 height width"],
    known: Bool[Tensor, "batch time 1 height width"],
) -> Float[Tensor, "batch time 1 height width"]:
    height, width = forecast.shape[-2:]
    padding = (0, -width % CELL_PX, 0, -height % CELL_PX)
    extended, source = functional.pad(extrapolation, padding), functional.pad(known, padding)
    found = [
        bounded(
            forecast[:, lead],
            extended[:, lead],
            source[:, lead],
            extrapolation[:, 0],
            extrapolation[:, lead],
            lead + 1,
        )
        for lead in range(forecast.shape[1])
    ]
    return torch.stack(found, dim=1)


def bands(
    frames: Float[Tensor, "batch time 1 height width"],
) -> list[Float[Tensor, "batch time 1 height width"]]:
    """Frames split by spatial scale: a Laplacian pyramid at the frames' size; the sum is the frame.

    The first band is what is finer than 2 pixels, the next what is finer than 4 and so on with
    `SCALES_PX`, the last what is left. A frame smoothed to a scale is its block means, interpolated
    bilinearly.
    """
    whole = finer = frames.flatten(0, 1)
    height, width = whole.shape[-2:]
    found = []
    for scale in SCALES_PX:
        size = (max(1, height // scale), max(1, width // scale))
        if torch.compiler.is_exporting():  # of frames whose sides are multiples of the scale
            means = functional.avg_pool2d(whole, scale)
        else:
            means = functional.interpolate(whole, size=size, mode="area")
        smooth = functional.interpolate(means, size=(height, width), mode="bilinear")
        found.append(finer - smooth)
        finer = smooth
    return [band.view(frames.shape) for band in (*found, finer)]


class LagrangianSettings(StagedSettings):
    """Forecast the departure from the optical-flow extrapolation; see `Lagrangian`."""

    kind: Literal["lagrangian"] = "lagrangian"
    """Corrects what optical flow foresees."""
    cell: CellName = "convgru"
    """Its recurrent cells."""
    takes_motion: ClassVar[bool] = True

    def motion(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"],
        calibration: Calibration,
    ) -> Float[Tensor, "batch 2 height width"]:
        """See `ForecasterSettings.motion`."""
        return motions(*with_data(frames, mask))

    def build(
        self, in_len: int, out_len: int, calibration: Calibration | None = None
    ) -> Lagrangian:
        """See `ForecasterSettings.build`."""
        return Lagrangian(
            EncoderForecaster(
                self.stages,
                out_len,
                self.activate_convolutions,
                self.cell,
                guided=True,
                channels_out=Lagrangian.CHANNELS,
            )
        )

    def graph(self, model: nn.Module, in_len: int) -> Graph:
        """None: raises ConfigError."""
        raise ConfigError(
            "model.kind: expected a forecaster in torch operations alone, found lagrangian, which "
            "estimates motion by OpenCV in the middle; export a run of kind comoving"
        )
