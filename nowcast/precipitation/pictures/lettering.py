"""The letters of pictures."""

from functools import cache
from pathlib import Path

from matplotlib import get_data_path
from PIL import ImageFont

INK = (20, 20, 20)


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's sans serif, so many pixels high; it has the letters that a credit may need."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", name), size)
