"""The font of figures for papers: the glyphs that they mostly need of matplotlib's own.

A PDF holds the glyphs that it uses. To take them from a whole font, fontTools reads thousands of
others and all rules to join and shift them, for every file: most of the time of a leaderboard.
"""

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from fontTools import subset
from matplotlib import rcParams
from matplotlib.font_manager import FontProperties, findfont, fontManager

NAME = "nowcast figures"
CHARACTERS = (*range(0x20, 0x7F), *range(0xA0, 0x180), *map(ord, "←↑→↓−–—…≤≥≈"))  # to ž
ENGLISH = (3, 1, 0x409)  # platform, encoding and language in a table of names
FAMILY = 1  # the entry there that matplotlib finds a font by


@cache
def small_family() -> list[str]:
    """``font.family`` with the small font first; what it lacks comes from those set before."""
    set_before = list(rcParams["font.family"])
    path = findfont(FontProperties())
    options = subset.Options(legacy_kern=True, glyph_names=True, passthrough_tables=True)
    options.drop_tables += ["GSUB", "GPOS", "GDEF"]  # kerning has a table of its own, too
    options.font_number = getattr(path, "face_index", -1)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=CHARACTERS)
    folder = Path(mkdtemp(prefix="nowcast-font-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with subset.load_font(path, options) as font:
        chosen.subset(font)
        font["name"].setName(NAME, FAMILY, *ENGLISH)
        font.save(folder / "small.ttf")
    fontManager.addfont(folder / "small.ttf")
    return [NAME, *set_before]
