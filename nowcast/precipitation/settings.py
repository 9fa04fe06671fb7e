"""What a precipitation config may say: data, model, and the contracts between them."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from nowcast.core.settings import Count, Place, Positive, RunSettings, Section
from nowcast.precipitation.forecasters.comoving.ensemble import ComovingEnsembleSettings
from nowcast.precipitation.forecasters.encoder_forecaster import EncoderForecasterSettings
from nowcast.precipitation.forecasters.kinds import ModelSettings

PAPER_CROP = (164, 284, 175, 295)  # rows, columns: Wang et al. 2024, as released

Share = Annotated[float, Field(ge=0, le=1)]


class SourceSettings(Section):
    """One of several archives that training draws from."""

    root: Place
    """The archive."""
    lists: Place | None = None
    """Folder of day lists; null is ROOT/hko_data."""
    weight: Positive = 1.0
    """How often its clips are drawn, relative to the other archives'."""
    speeds: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    """Frames from one of a clip to the next: 2 shows the rain at twice its speed. Those for which
    the archive is long enough are drawn alike often."""
    pixel_km: Positive | None = None
    """Height of a pixel; null: as the archive's grid says, if it has one."""


class WindowSettings(Section):
    """Windows of one size, for a batch of clips of `data.sources`."""

    side: Count
    """Height and width in pixels."""
    clips: Count = 1
    """How many are drawn for each one of `train.batch_size`: more, where they are small."""
    weight: Positive = 1.0
    """How often a batch is of these, relative to the others."""
    coarsen: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    """Pixels along a side that become one, a mean of rain rates; drawn alike often."""
    fill: Share = 0.0
    """Share of a side that the frames of an archive must fill, coarsened or not; what is missing is
    padded. An archive whose frames are too small takes no part."""

    def resolutions(self, sides: tuple[int, int]) -> list[int]:
        """How many pixels of a frame of these sides may become one, so that a window is filled."""
        least = max(1.0, self.fill * self.side)
        return [coarse for coarse in self.coarsen if min(sides) // coarse >= least]


class AugmentSettings(Section):
    """How clips of `data.sources` are changed, beside `flips` and `turns`; see `mixture`."""

    reverse: Share = 0.0
    """Probability of time running backwards."""
    rate_factor: Annotated[float, Field(ge=1)] = 1.0
    """Half of the clips have their rain rates multiplied by a number from 1 / factor to it, its
    logarithm evenly drawn."""
    sampled: Share = 0.0
    """Share of the coarsened clips that keep one pixel of each block instead of its mean."""
    untold: Share = 0.0
    """Share of the clips whose step, and of those whose pixel size, the forecaster is not told."""
    outage: Share = 0.0
    """Share of the clips of which some input frames, or a part of them, come dry as after an outage
    of the radar; their mask says data, and what is to be forecast stays as it was."""
    look: Share = 0.0
    """Share of the clips that are made to look like another radar's, what is to be forecast, too:
    coarse classes, column maxima, drizzle, faint echo that stays, noise, attenuation, blocked
    beams, a circle; see `appearance`."""


class DataSettings(Section):
    """Which clips are cut out of which archive."""

    root: Place | None = None
    """The archive: its folder, or a packed file."""
    sources: tuple[SourceSettings, ...] = ()
    """Archives that training draws from, each from its training days; validation and test are of
    `root`, whose training days count only if it is among them. Needs `random_crop`."""
    lengths: tuple[tuple[Count, Count], ...] = ()
    """Of `sources`: input and output frames, drawn anew for each batch, so that short archives
    can be seen at greater speed; none: always in_len and out_len."""
    windows: tuple[WindowSettings, ...] = ()
    """Of `sources`: the windows that batches are of; none: always of random_crop."""
    augment: AugmentSettings = AugmentSettings()
    lists: Place | None = None
    """Folder of day lists and exclude mask; null is ROOT/hko_data."""
    quarantine: Place | None = None
    """Times to skip, as `nowcast data check ROOT --quarantine FILE` writes them."""
    in_len: Count = 10
    """Frames that a forecast starts from."""
    out_len: Count = 10
    """Frames that are forecast."""
    stride: Count = 5
    """Frames between clip starts in validation and test."""
    crop: Literal["paper"] | tuple[int, int, int, int] | None = None
    """null is the whole frame, paper is rows 164:284 and columns 175:295, or [r0, r1, c0, c1]."""
    random_crop: tuple[Count, Count] | None = None
    """Height and width that training cuts out of the crop, anew for every clip."""
    masks: Literal["frame", "exclude", "both"] = "frame"
    """Which pixels count: by each frame's mask, by the archive's exclude mask, or by both."""
    min_wet: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Training draws only clips whose last input frame has at least this share of its unmasked
    pixels at or above 0.5 mm/h. Validation and test keep every clip."""
    flips: bool = False
    """Training mirrors clips, left-right and up-down, each as likely as not."""
    turns: bool = False
    """Training turns clips by 0 to 3 quarters; needs square windows."""
    towards_rain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """This share of the training draws follows the rain instead of being uniform: a clip comes
    with probability (1 - share) / clips + share * wet / sum of wet; wet is as in `min_wet`."""
    reweight: bool = True
    """Multiply a clip's loss by how much more often `towards_rain` draws it less, so that the mean
    loss stays that of all clips; false lets heavy rain count more."""
    max_missing: Annotated[int, Field(ge=0)] = 0
    """Missing frames in a row that a clip may have."""
    cache_mb: Count = 512
    """Memory for decoded frames, MB in each process that reads; a pack needs none."""
    on_gpu: Literal["auto", "never"] = "auto"
    """Whether all training frames stay on a GPU that has room for them; bits are the same."""
    local_copy: str | None = None
    """A folder on the disk of each machine that trains or scores, e.g. $TMPDIR: the archives are
    copied there once and read there; $NAME is a variable of that machine."""

    @field_validator("crop")
    @classmethod
    def _ascending(cls, crop: object) -> object:
        if isinstance(crop, tuple) and not (0 <= crop[0] < crop[1] and 0 <= crop[2] < crop[3]):
            raise ValueError(
                f"expected [r0, r1, c0, c1] with 0 <= r0 < r1, 0 <= c0 < c1, found {list(crop)}"
            )
        return crop

    @model_validator(mode="after")
    def _mixture(self) -> "DataSettings":
        """What belongs to `sources` alone, and what a mixture does not know."""
        if not self.sources:
            if self.lengths or self.windows or self.augment != AugmentSettings():
                raise ValueError(
                    "lengths, windows and augment: are of sources, found none; list some"
                )
            return self
        if self.random_crop is None or self.random_crop[0] != self.random_crop[1]:
            raise ValueError(
                "sources: expected random_crop of a square, which frames of all sizes are cut or "
                f"padded to, found {self.random_crop}"
            )
        for name in ("crop", "quarantine"):
            if getattr(self, name) is not None:
                raise ValueError(f"sources: expected {name}: null with several archives")
        if self.towards_rain or self.max_missing or self.masks != "frame":
            raise ValueError(
                "sources: expected masks: frame, towards_rain: 0 and max_missing: 0 with several "
                "archives"
            )
        return self

    @property
    def crop_bounds(self) -> tuple[int, int, int, int] | None:
        """The crop as (r0, r1, c0, c1), None for the whole frame."""
        return PAPER_CROP if self.crop == "paper" else self.crop


class OnlineSettings(Section):
    """Learning between forecasts (`nowcast evaluate RUN --online`); see `online.learner`.

    The defaults are those of the HKO-7 benchmark as published (github.com/sxjscience/HKO-7,
    experiments/hko: the command in its README, hko_main.py, config.py).
    """

    updates: Annotated[int, Field(ge=0)] = 1
    """AdaGrad steps before each forecast; 0 learns nothing."""
    lr: Positive = 1e-4
    """Constant; AdaGrad itself lowers it by the gradients it has seen in the whole stream."""
    eps: Positive = 1e-4
    """Added to the root of the summed squares. The benchmark's MXNet adds 1e-8 under the root."""
    clip_norm: Positive = 50.0
    """Norm at which the gradient is cut, over the whole network."""


class LossSettings(Section):
    """What training minimises: B-MSE + B-MAE."""

    relative: bool | Literal["log"] = False
    """Divide each clip's loss by that of persistence, so that light rain and every archive count
    like heavy rain; log takes the logarithm of that, so that a per cent less counts alike in clips
    that can be foreseen well and in others; false is the paper's."""
    areas: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the squared logarithm of the frequency bias, which is added; see `loss`."""
    members: Annotated[int, Field(ge=0)] = 0
    """Draw so many members of each clip, of a kind that has them, and add their CRPS; 0 does
    not."""


class PrecipitationSettings(RunSettings):
    """One run of the precipitation task."""

    incidental = RunSettings.incidental | {
        "online",
        "data.cache_mb",
        "data.local_copy",
        "data.on_gpu",
    }

    task: Literal["precipitation"] = "precipitation"
    """Which task this config is of."""
    data: DataSettings = DataSettings()
    model: ModelSettings = EncoderForecasterSettings()
    """The forecaster: its kind and that kind's keys."""
    loss: LossSettings = LossSettings()
    online: OnlineSettings = OnlineSettings()

    @model_validator(mode="after")
    def _explosions_have_a_scale(self, info: Any) -> "PrecipitationSettings":
        """A logarithm of about 0 is no scale for another."""
        if info.context is not None and info.context.get("evaluating"):
            return self
        if self.loss.relative == "log" and self.train.explosion_factor is not None:
            raise ValueError(
                "loss.relative: log: its values are about 0, of which no multiple is an explosion; "
                "expected train.explosion_factor: null with it, found "
                f"{self.train.explosion_factor:g}"
            )
        return self

    @model_validator(mode="after")
    def _members_are_there(self) -> "PrecipitationSettings":
        if self.loss.members and not isinstance(self.model, ComovingEnsembleSettings):
            raise ValueError(
                "loss.members: expected model.kind: comoving-ensemble, which has members, found "
                f"model.kind: {self.model.kind}; choose that kind, or leave loss.members out"
            )
        if self.loss.members == 1:
            raise ValueError("loss.members: expected 0 or at least 2, which have a spread, found 1")
        return self

    @model_validator(mode="after")
    def _lengths_fit(self) -> "PrecipitationSettings":
        """Most forecasters give as many frames as they were built for, and no more."""
        longest = max((out for _, out in self.data.lengths), default=0)
        if longest > self.data.out_len and not self.model.takes_details:
            raise ValueError(
                f"data.lengths: expected at most out_len, {self.data.out_len}, output frames with "
                f"model.kind: {self.model.kind}, found {longest}"
            )
        return self

    @model_validator(mode="after")
    def _strides_divide(self, info: Any) -> "PrecipitationSettings":
        """The contract that needs no archive; the rest is checked when one is opened."""
        if info.context is not None and info.context.get("evaluating"):
            return self
        bounds = self.data.crop_bounds
        size = self.data.random_crop or (
            (bounds[1] - bounds[0], bounds[3] - bounds[2]) if bounds else None
        )
        if size is not None:
            check_divides(size, self.model.multiple)
        for window in self.data.windows:
            check_divides((window.side, window.side), self.model.multiple)
        return self

    @model_validator(mode="after")
    def _enough_input(self) -> "PrecipitationSettings":
        shortest = min((before for before, _ in self.data.lengths), default=self.data.in_len)
        if shortest < self.model.least_in_len:
            raise ValueError(
                f"data.in_len: the forecaster {self.model.kind} needs at least "
                f"{self.model.least_in_len} input frames, found {shortest}"
            )
        return self

    @model_validator(mode="after")
    def _same_neurons(self) -> "PrecipitationSettings":
        """A neuron is a place in the frame: in evaluation there must be as many as in training."""
        window, bounds = self.data.random_crop, self.data.crop_bounds
        whole = None if bounds is None else (bounds[1] - bounds[0], bounds[3] - bounds[2])
        if self.memel is not None and self.memel.in_eval and window not in (None, whole):
            raise ValueError(
                "memel.in_eval: its statistics are of the frames it trains on, which random_crop "
                f"makes {window[0]}x{window[1]}, not those it is evaluated on; cut both with "
                "data.crop, without data.random_crop"
            )
        return self


def check_divides(size: tuple[int, int], multiple: int) -> None:
    """Raise ValueError unless both sides of a training frame are multiples of the strides."""
    if size[0] % multiple or size[1] % multiple:
        raise ValueError(
            f"data.crop: the model's strides multiply to {multiple} and must divide the frames it "
            f"trains on, found {size[0]}x{size[1]}; e.g. "
            f"{max(size[0] // multiple, 1) * multiple}x{max(size[1] // multiple, 1) * multiple}"
        )
