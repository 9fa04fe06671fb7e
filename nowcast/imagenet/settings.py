"""What an image config may say of its data: which tree, how large, how augmented."""

from typing import Annotated

from pydantic import Field, model_validator

from nowcast.core.settings import Place, Section

Share = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0)]


class DataSettings(Section):
    """Which images, and the size they are shown to a model at."""

    root: Place | None = None
    """The folder with train/CLASS/* and val/CLASS/*."""
    size: Annotated[int, Field(ge=8, le=2048)] = 224
    """Rows and columns of an image as the model sees it, pixels."""
    val_labels: Place | None = None
    """Classes of a val folder without class folders; null looks for a file of a known name."""
    unreadable: Place | None = None
    """Files to leave out, as `nowcast data images ROOT --unreadable FILE` lists them."""


class AugmentSettings(Section):
    """How training images are changed; the defaults are those of Swin's fine-tuning (Liu et al.
    2021, arXiv:2103.14030, and its released code)."""

    crop_scale: tuple[Share, Share] | None = (0.08, 1.0)
    """Least and greatest share of an image's area that a random crop has, of 3:4 to 4:3; null
    crops as evaluation does."""
    flip: Share = 0.5
    """Probability that left and right are exchanged."""
    colour_jitter: Share = 0.4
    """Brightness, contrast and saturation change by up to this share. Where RandAugment is on it
    is off, as in the released code, since RandAugment has the same three; 0 is always off."""
    randaugment: Annotated[float, Field(gt=0, le=10)] | None = 9.0
    """Mean magnitude, of 10, with standard deviation 0.5; null is off."""
    erase: Share = 0.25
    """Probability that a rectangle becomes noise."""
    mixup: Strength = 0.8
    """Of Beta(mixup, mixup), which the weight of one image in the other's is drawn from; 0 is
    off."""
    cutmix: Strength = 1.0
    """Likewise of the area that one image has in the other. With both, either is used in half of
    the batches."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target that all classes have alike."""

    @model_validator(mode="after")
    def _scale(self) -> "AugmentSettings":
        if self.crop_scale is not None and not 0 < self.crop_scale[0] <= self.crop_scale[1]:
            raise ValueError(
                f"crop_scale: expected 0 < least <= greatest <= 1, found {list(self.crop_scale)}"
            )
        return self
