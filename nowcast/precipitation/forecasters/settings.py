"""What the `model` section of a config must do, whatever forecaster it describes, and what a
forecaster with members can do beyond a forecast."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nowcast.core.errors import ConfigError
from nowcast.core.settings import Section
from nowcast.precipitation.forecasters.graph import Graph
from nowcast.precipitation.forecasters.scale import Scale
from nowcast.precipitation.units import Calibration


@runtime_checkable
class Ensemble(Protocol):
    """A forecaster with members: a module that has these too, whatever its settings.

    Leaderboards score the members, and everything else the module's own forecast. Without it a
    forecaster has none; `as_ensemble` says which.
    """

    member_count: int
    """How many members it has unless told otherwise; 1: it is no ensemble."""

    def members(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
    ) -> Float[Tensor, "batch member out_len 1 height width"]:
        """Forecasts of equal probability, pixels in [0, 1], on the frames' device.

        Args:
            frames: pixels in [0, 1].
            mask: True where there is data; None: everywhere.
            count: how many; None: `member_count`, or as many as these frames allow.
            seed: of what is random, if anything is. The same seed and clip give the same members,
                whatever the batch and the number of threads.

        Raises:
            ConfigError: it cannot have so many.
        """
        ...

    def single(
        self,
        members: Float[Tensor, "batch member out_len 1 height width"],
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """The one forecast that stands for members of these frames: their mean, or what suits the
        balanced scores better; for those of seed 0 the module's own."""
        ...


def as_ensemble(model: object) -> Ensemble | None:
    """The forecaster as an ensemble, if it is one."""
    return model if isinstance(model, Ensemble) and model.member_count > 1 else None


class ForecasterSettings(Section, ABC):
    """The settings of one kind of forecaster, which build it.

    A subclass adds ``kind: Literal["name"] = "name"`` and what its network needs. It joins the
    others in `kinds.OWN`, or by an entry point ``name = "module:Class"`` of the group
    `kinds.GROUP`, so that ``model: {kind: name}`` trains it.
    """

    kind: str
    least_in_len: ClassVar[int] = 1
    """The fewest input frames that it can forecast from."""
    takes_motion: ClassVar[bool] = False
    """Whether the module takes a third argument, ``motion``, ``batch 2 height width`` in pixels a
    step, in place of its own estimate."""
    replayable: ClassVar[bool] = False
    """Whether the module's forward and way back take the same kernels each time and leave the host
    nothing to read or decide, so that a GPU may replay them (`core.training.graph`)."""
    takes_details: ClassVar[bool] = False
    """Whether the module takes the keywords ``out_len``, fewer frames than it was built for, and
    ``scale``, ``batch 2`` as `scale.numbers` gives it, and has an attribute ``scale``, a `Scale`,
    that stands in for the latter."""

    @property
    def multiple(self) -> int:
        """What height and width of a training frame must be multiples of."""
        return 1

    @abstractmethod
    def build(self, in_len: int, out_len: int, calibration: Calibration | None = None) -> nn.Module:
        """The network, its initial weights from torch's global generator.

        Args:
            in_len: input frames; a network may take any number.
            out_len: frames to forecast; weights must not depend on it.
            calibration: Z-R relation of the frames it will see, HKO-7's if None.

        Returns:
            a module ``(frames, mask) -> forecast`` with frames and mask
            ``batch in_len 1 height width``, pixels in [0, 1] and True where there is data; the
            forecast is ``batch out_len 1 height width`` on the frames' device. The settings have
            no part in its weights' names.
        """

    def motion(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"],
        calibration: Calibration,
    ) -> Float[Tensor, "batch 2 height width"] | None:
        """The module's own estimate of ``motion``, made where a batch is read: in a loader's
        worker, while the steps before go on. None: the module estimates it itself.

        Args:
            frames: input of the batch, pixels in [0, 1], on the CPU.
            mask: True where there is data.
            calibration: of the frames, with which the module was built.
        """
        return None

    def for_archive(
        self,
        in_len: int,
        out_len: int,
        calibration: Calibration | None = None,
        scale: Scale | None = None,
    ) -> nn.Module:
        """As `build`, and told what a step and a pixel of the archive are where it takes that."""
        model = self.build(in_len, out_len, calibration)
        if self.takes_details and scale is not None:
            model.scale = scale  # type: ignore[assignment]
        return model

    def graph(self, model: nn.Module, in_len: int) -> Graph:
        """What `nowcast export` writes of a built model in evaluation mode.

        Raises:
            ConfigError: it cannot be exported.
        """
        raise ConfigError(
            f"model.kind: expected a kind that can be exported, found {self.kind}, whose settings "
            "do not say what its graph takes; export it with torch.export yourself"
        )

    def memory_bytes(self, shape: Sequence[int], out_len: int) -> int | None:
        """What a forecast from frames ``batch in_len 1 height width`` takes, bytes; None if not
        known."""
        return None
