"""The comoving forecaster with members: noise that it learns to add where it may be wrong."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.settings import Count
from nowcast.precipitation.forecasters.bound import ceiling
from nowcast.precipitation.forecasters.comoving.circumstances import WET
from nowcast.precipitation.forecasters.comoving.correction import (
    CELL_PX,
    CHANGES,
    KNOWN,
    Correction,
    decided,
    enlarged,
)
from nowcast.precipitation.forecasters.comoving.forecaster import (
    Comoving,
    ComovingSettings,
    without_gaps,
)
from nowcast.precipitation.forecasters.comoving.network import (
    ComovingNetwork,
    Frame,
    Widths,
    bounded_to,
    float32,
    padded,
)
from nowcast.precipitation.forecasters.comoving.noise import LEVELS, Draw, Noise
from nowcast.precipitation.forecasters.flow.advection import at, pixel_places
from nowcast.precipitation.forecasters.flow.extrapolation import motions, with_data
from nowcast.precipitation.forecasters.graph import cut
from nowcast.precipitation.forecasters.rate_scale import from_hko7, to_hko7
from nowcast.precipitation.forecasters.scale import repeated
from nowcast.precipitation.units import DBZ_SPAN, PIXEL_LEVELS, Calibration

MEMBERS = 24
# Above what `bound.ceiling` allows a forecast: some of the truth is above that. 6 dB.
HEADROOM = 6.0 / DBZ_SPAN
FIRST_AMPLITUDE, FIRST_MEMORY = -3.5, 1.5  # before softplus and sigmoid: 0.03 of a pixel, 0.82


class NoisyNetwork(ComovingNetwork):
    """`ComovingNetwork` whose cells also say what members are corrected by, apart from the
    forecast, and how much noise of each scale there is."""

    def __init__(self, out_len: int, widths: Widths) -> None:
        self.used = CHANGES + widths.pixel
        super().__init__(out_len, widths, more=self.used + LEVELS)
        self.of_members = Correction(widths.pixel)
        self.memory = nn.Linear(widths.circumstances, LEVELS)
        for layer in (self.head, self.everywhere):
            assert layer.bias is not None
            nn.init.zeros_(layer.weight[self.used :])
            nn.init.zeros_(layer.bias[self.used :])
        nn.init.zeros_(self.memory.weight)
        nn.init.constant_(self.memory.bias, FIRST_MEMORY)

    def members(
        self,
        frame: Frame,
        in_len: int,
        motion: Float[Tensor, "batch 2 height width"],
        scale: Float[Tensor, "batch 2"],
        out_len: int,
        draw: Draw,
        at_once: bool,
        and_forecast: bool = False,
    ) -> Iterator[Float[Tensor, "batch member height width"]]:
        """The members of one lead time after the other, and before them the forecast if asked for;
        see `ComovingNetwork.forecasts`."""
        size = (motion.shape[-2], motion.shape[-1])
        noise: Noise | None = None
        for step in self.steps(frame, in_len, motion, scale, out_len, at_once):
            with float32(motion.device.type):
                for guide, change, clip, come, lead in zip(
                    step.guides,
                    step.changes,
                    step.circumstances,
                    step.come,
                    step.leads,
                    strict=True,
                ):
                    of_forecast, of_members, amplitude = change.split(
                        [self.used, self.used, LEVELS], 1
                    )
                    if noise is None:
                        noise = Noise(draw, *guide.shape[-2:])
                    amplitude = functional.softplus(amplitude + FIRST_AMPLITUDE)
                    # What is said of a place at this lead time, where its rain is now.
                    amplitude = at(amplitude, pixel_places(come) + come, "border")
                    moving = noise.next(amplitude, torch.sigmoid(self.memory(clip.float())))
                    far = CELL_PX * enlarged(come)
                    added = at(moving, pixel_places(far) - far, "reflection")
                    latent = self.of_members.undecided(guide, of_members)
                    found = cut(decided(latent + added), *size)
                    found = torch.minimum(found, cut(_highest(guide, lead), *size))
                    if and_forecast:
                        forecast = self.correction(guide, of_forecast)
                        forecast = bounded_to(forecast, guide, step.now, lead, size)
                        found = torch.cat([forecast, found], 1)
                    yield found


def _highest(
    guide: Float[Tensor, "batch 7 height width"], lead: int
) -> Float[Tensor, "batch 1 height width"]:
    """That a member may be: none where no rain is near."""
    highest = ceiling(guide[:, :2].amax(1, keepdim=True), guide[:, KNOWN] > 0, lead)
    return torch.where(highest >= WET, highest + HEADROOM, highest)


class ComovingEnsemble(Comoving):
    """`Comoving` with members: a sum like its own and a noise that moves with the rain, of several
    scales.

    How much there is of each scale the network says for every place and lead time, and how long it
    lasts for each clip. Its own forecast is `Comoving`'s, for balanced errors, which want more
    heavy rain than is likely; members are corrected apart from it, for what is likely.

    Args:
        out_len: frames to forecast.
        calibration: Z-R relation of the pixels that come and go.
        widths: of the network.
        member_count: members it has unless told otherwise.
    """

    def __init__(
        self,
        out_len: int,
        calibration: Calibration | None = None,
        widths: Widths | None = None,
        member_count: int = MEMBERS,
    ) -> None:
        super().__init__(out_len, calibration, widths)
        self.network = NoisyNetwork(out_len, widths or Widths())
        self.member_count = member_count

    def grown(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of `Comoving`: members begin with its own correction, and little noise."""
        found = {
            name.replace(".correction.", ".of_members."): given for name, given in weights.items()
        } | dict(weights)
        for name, first in self.state_dict().items():
            given = found.get(name)
            if given is None and name.startswith("network.memory."):
                found[name] = first
            elif given is not None and given.ndim and len(first) == 2 * len(given) + LEVELS:
                found[name] = torch.cat([given, given, first[2 * len(given) :]])
        return found

    def drawn(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"]
        | UInt8[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None,
        draw: Draw,
        motion: Float[Tensor, "batch 2 height width"] | None = None,
        scale: Float[Tensor, "batch 2"] | None = None,
        out_len: int | None = None,
        and_forecast: bool = False,
    ) -> Float[Tensor, "batch member out_len 1 height width"]:
        """Members with noise from `draw`, and before them the forecast if asked for; see
        `Comoving.forward`."""
        network = self.network
        assert isinstance(network, NoisyNetwork)
        if scale is None:
            scale = repeated(self.scale, len(frames), frames.device)
        pixels = frames.float() / PIXEL_LEVELS if frames.dtype == torch.uint8 else frames
        pixels, data = with_data(pixels, mask, motion)
        pixels = to_hko7(pixels, self.calibration)
        motion = motions(pixels, data) if motion is None else motion
        pixels, data = without_gaps(pixels, data)
        pixels, data = padded(pixels), padded(data)
        leads = network.members(
            lambda time: (pixels[:, time], data[:, time]),
            pixels.shape[1],
            motion,
            scale,
            network.out_len if out_len is None else out_len,
            draw,
            at_once=True,
            and_forecast=and_forecast,
        )
        return torch.stack([from_hko7(found, self.calibration) for found in leads], 2)[
            :, :, :, None
        ]

    def learning(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None,
        count: int,
        **details: Any,
    ) -> tuple[
        Float[Tensor, "batch out_len 1 height width"],
        Float[Tensor, "batch member out_len 1 height width"],
    ]:
        """The forecast and so many members, with a gradient and torch's own random numbers; see
        `Comoving.forward`."""

        def draw(height: int, width: int) -> Tensor:
            return torch.randn(len(frames), count, height, width, device=frames.device)

        found = self.drawn(frames, mask, draw, and_forecast=True, **details)
        return found[:, 0], found[:, 1:]

    @torch.no_grad()
    def members(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"]
        | UInt8[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
    ) -> Float[Tensor, "batch member out_len 1 height width"]:
        """See `Ensemble.members`; a member is the same whatever their number."""
        numbers_of = [
            torch.Generator().manual_seed(1_000_003 * seed + member)
            for member in range(count or self.member_count)
        ]

        def draw(height: int, width: int) -> Tensor:
            fields = [torch.randn(height, width, generator=each) for each in numbers_of]
            return torch.stack(fields)[None].to(frames.device)

        return self.drawn(frames, mask, draw).clamp(0, 1)

    def single(
        self,
        members: Float[Tensor, "batch member out_len 1 height width"],
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """The module's own, see `Comoving.forward`."""
        forecast: Tensor = self(frames, mask)
        return forecast


class ComovingEnsembleSettings(ComovingSettings):
    """The comoving forecaster with members, see `ComovingEnsemble`."""

    kind: Literal["comoving-ensemble"] = "comoving-ensemble"  # type: ignore[assignment]
    """The comoving forecaster with members."""
    members: Count = MEMBERS
    """Of a forecast."""

    def build(
        self, in_len: int, out_len: int, calibration: Calibration | None = None
    ) -> ComovingEnsemble:
        """See `ForecasterSettings.build`."""
        return ComovingEnsemble(out_len, calibration, self, self.members)
