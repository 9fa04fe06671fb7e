"""Nothing moves: the forecast that every other must beat."""

from jaxtyping import Bool, Float
from torch import Tensor, nn


class Persistence(nn.Module):
    """The last input frame, again and again.

    Args:
        out_len: frames to forecast.
    """

    def __init__(self, out_len: int) -> None:
        super().__init__()
        self.out_len = out_len

    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Repeat the last frame `out_len` times; masked pixels are repeated as they stand."""
        return frames[:, -1:].expand(-1, self.out_len, -1, -1, -1)
