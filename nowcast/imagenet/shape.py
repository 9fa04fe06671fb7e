"""How large a Swin is: those of Liu et al. 2021, and smaller ones."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from nowcast.core.settings import Count, Section
from nowcast.core.storage import pretrained

PerStage = Annotated[tuple[Count, ...], Field(min_length=3)]


class Shape(Section):
    """Of a Swin; the default is Swin-T's."""

    embed_dim: Count = 96
    """Channels of the first stage; each next one has twice as many."""
    depths: PerStage = (2, 2, 6, 2)
    """Blocks of each stage."""
    num_heads: PerStage = (3, 6, 12, 24)
    """Of attention, in each stage."""
    window_size: Count = 7
    """Side of the windows that attend to themselves, patches."""
    patch_size: Count = 4
    """Side of a patch, pixels."""

    @model_validator(mode="after")
    def _fits(self) -> "Shape":
        if len(self.depths) != len(self.num_heads):
            raise ValueError(
                f"expected heads for each of {len(self.depths)} stages, found "
                f"{list(self.num_heads)}"
            )
        widths = [self.embed_dim * 2**stage for stage in range(len(self.depths))]
        for width, heads in zip(widths, self.num_heads, strict=True):
            if width % heads:
                raise ValueError(
                    f"num_heads: expected a divisor of {width} channels, found {heads}"
                )
        return self

    def check_side(self, size: int) -> None:
        """Raise ValueError unless pictures of this side can be cut into patches and windows."""
        least = self.patch_size * 2 ** (len(self.depths) - 1) * self.window_size
        if size % least:
            raise ValueError(
                f"data.size: expected a multiple of {least}, for {len(self.depths)} stages with "
                f"windows of {self.window_size} patches of {self.patch_size}, found {size}"
            )

    def config(self, size: int, classes: int, drop_path: float) -> Any:
        """As transformers takes it."""
        return pretrained.transformers().SwinConfig(
            image_size=size,
            patch_size=self.patch_size,
            embed_dim=self.embed_dim,
            depths=list(self.depths),
            num_heads=list(self.num_heads),
            window_size=self.window_size,
            drop_path_rate=drop_path,
            num_labels=classes,
        )


SIZES = {
    "tiny": Shape(),
    "small": Shape(depths=(2, 2, 18, 2)),
    "base": Shape(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
}
