"""Members to look at: an animation of the probability of each threshold, and some members."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageDraw

from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.products.canvas import (
    LINE,
    MARGIN,
    NARROWEST,
    PAPER,
    Entries,
    composed,
    credits,
    font,
    lead_name,
    palette,
    title,
)
from nowcast.precipitation.forecasting.products.pictures import FRAME_MS, RATES, WIDEST_ANIMATED
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.pictures.render import INK, MASKED, colours, write_gif

# Lower edge of each band in per cent, and its RGB colour (ColorBrewer's YlGnBu, which is read with
# any colour vision): what less than one member in twenty has is white.
BANDS: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (0, (250, 250, 250)),
    (5, (255, 255, 204)),
    (20, (199, 233, 180)),
    (35, (127, 205, 187)),
    (50, (65, 182, 196)),
    (65, (34, 94, 168)),
    (80, (37, 52, 148)),
    (95, (8, 15, 70)),
)
SHARES: Entries = [(f"{edge:g}", colour) for edge, colour in BANDS]
EDGES = np.array([edge for edge, _ in BANDS]) / 100
STAMPS, COLUMNS = 6, 3  # members drawn, and how many side by side
STAMP_PX = 240  # widest frame of a member; wider ones are thinned out
GAP = 4


def write_probability_animations(forecast: Forecast, found: Probabilities, folder: Path) -> None:
    """Write ``probability_2mm_h.gif`` and so on: how probable each threshold is, lead by lead.

    Within the radius, where one was asked for; otherwise at each pixel.
    """
    within = "" if found.nearby is None else f" within {found.request.radius}"
    shares = found.exceedance if found.nearby is None else found.nearby
    for number, threshold in enumerate(found.thresholds):
        what = f"P(rain ≥ {threshold:g} mm/h{within}), forecaster {forecast.model}"
        every = -(-max(shares.shape[-2:]) // WIDEST_ANIMATED)
        pictures = [
            _probability(forecast, lead, shares[lead, number], what, every)
            for lead in range(len(shares))
        ]
        held = palette([colour for _, colour in BANDS])
        paletted = [p.quantize(palette=held, dither=Image.Dither.NONE) for p in pictures]
        name = f"probability_{threshold:g}mm_h.gif"
        write_gif(paletted, folder / name, FRAME_MS, optimize=False)


def write_stamps(forecast: Forecast, folder: Path) -> None:
    """Write ``+005min.png`` and so on: the first members side by side, in colours of rain rate."""
    assert forecast.members is not None
    folder.mkdir(parents=True)
    every = -(-max(forecast.pixels.shape[1:]) // STAMP_PX)
    for lead in range(len(forecast.pixels)):
        shown = forecast.members.pixels[:STAMPS, lead]
        stamps = [
            _stamp(forecast, pixels, f"member {number}", every)
            for number, pixels in enumerate(shown, 1)
        ]
        count = f"{len(shown)} of {len(forecast.members.pixels)} members"
        above = [title(forecast, lead), f"forecaster {forecast.model}: {count}"]
        picture = composed(_side_by_side(stamps), above, credits(forecast, every), RATES, "mm/h")
        picture.save(folder / lead_name(forecast, lead))


def _probability(
    forecast: Forecast,
    lead: int,
    shares: Float32[np.ndarray, "height width"],
    what: str,
    every: int,
) -> Image.Image:
    thinned = shares[::every, ::every]
    drawn = np.array([colour for _, colour in BANDS], dtype=np.uint8)
    # A hair more, so that a twentieth of the members is 5 %.
    bands = np.searchsorted(EDGES, np.nan_to_num(thinned) + 1e-6, side="right") - 1
    frame = np.where(np.isnan(thinned)[..., None], np.array(MASKED, np.uint8), drawn[bands])
    above = [title(forecast, lead), what]
    return composed(_larger(frame, NARROWEST), above, credits(forecast, every), SHARES, "per cent")


def _stamp(
    forecast: Forecast, pixels: Float32[np.ndarray, "height width"], name: str, every: int
) -> Image.Image:
    """A member below its name."""
    thinned = (slice(None, None, every), slice(None, None, every))
    calibration = forecast.description.calibration
    frame = _larger(colours(pixels[thinned], forecast.mask[thinned], calibration), STAMP_PX // 2)
    picture = Image.new("RGB", (max(frame.width, STAMP_PX // 2), frame.height + LINE), PAPER)
    ImageDraw.Draw(picture).text((MARGIN, 1), name, font=font(), fill=INK)
    picture.paste(frame, (0, LINE))
    return picture


def _side_by_side(stamps: list[Image.Image]) -> Image.Image:
    """Rows of `COLUMNS` pictures of one size."""
    width, height = stamps[0].size
    columns = min(COLUMNS, len(stamps))
    rows = -(-len(stamps) // columns)
    grid = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), PAPER)
    for number, stamp in enumerate(stamps):
        row, column = divmod(number, columns)
        grid.paste(stamp, (column * (width + GAP), row * (height + GAP)))
    return grid


def _larger(frame: np.ndarray, narrowest: int) -> Image.Image:
    """A frame whose pixels are squares where it is small."""
    drawn = Image.fromarray(frame)
    times = max(1, narrowest // max(drawn.size))
    return drawn.resize((times * drawn.width, times * drawn.height), Image.Resampling.NEAREST)
