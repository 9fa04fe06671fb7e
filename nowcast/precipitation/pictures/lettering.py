"""The letters of pictures."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

INK = (20, 20, 20)


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Matplotlib's sans serif, so many pixels high; it has the letters that a credit may need."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    # `matplotlib.get_data_path` is this folder; it imports matplotlib, which no letter needs.
    package = find_spec("matplotlib")
    assert package is not None and package.origin is not None
    return ImageFont.truetype(Path(package.origin).with_name("mpl-data") / "fonts/ttf" / name, size)
