"""What an image config may say of its data: which tree, how large, how augmented."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nowcast.core.settings import Place, RunSettings, Section
from nowcast.core.storage.pretrained import Pretrained
from nowcast.imagenet.shape import SIZES, Shape

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
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training images that becomes the validation split; val is then the test split.
    0: val is the validation split."""
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


class ModelSettings(Section):
    """The Swin that is trained or fine-tuned."""

    pretrained: Pretrained | None = None
    """A folder with config.json and model.safetensors, a name at Hugging Face, or a .pth of the
    authors, of which only tensors are read; null trains from fresh weights."""
    size: Literal["tiny", "small", "base"] = "tiny"
    """Of fresh weights and of a .pth; a folder says its own."""
    own: Shape | None = None
    """Another shape in the place of `size`."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Rate of stochastic depth; 0.1 for tiny, 0.2 for small and base."""
    head_map: Place | None = None
    """For each class its row in the head of the pretrained model, one number a line: the authors'
    map from ImageNet-22k to 1k. Without it the head is fresh, unless it has as many classes."""

    @property
    def shape(self) -> Shape:
        """What `own` or `size` says."""
        return self.own or SIZES[self.size]


class ImagenetSettings(RunSettings):
    """One run of the image task."""

    incidental = RunSettings.incidental | {"model.pretrained"}

    task: Literal["imagenet"] = "imagenet"
    """Which task this config is of."""
    data: DataSettings = DataSettings()
    augment: AugmentSettings = AugmentSettings()
    model: ModelSettings = ModelSettings()
    """The network and its sizes."""

    @model_validator(mode="after")
    def _windows_fit(self) -> "ImagenetSettings":
        if self.model.pretrained is None or self.model.pretrained.endswith(".pth"):
            self.model.shape.check_side(self.data.size)
        return self
