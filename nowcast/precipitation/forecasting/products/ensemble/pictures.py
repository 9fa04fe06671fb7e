"""Members to look at: an animation of the probability of each threshold, and some members."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw

from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.products.canvas import (
    PAPER,
    Entries,
    about,
    composed,
    credits,
    heading,
    lead_name,
    text_size,
)
from nowcast.precipitation.forecasting.products.pictures import RATES, write_paletted
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.products.widths import WIDTH
from nowcast.precipitation.forecasting.products.words import peak
from nowcast.precipitation.pictures.lettering import INK, font
from nowcast.precipitation.pictures.render import MASKED, colours
from nowcast.precipitation.pictures.view import Mark, View

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
GAP = 4


def write_probability_animations(
    forecast: Forecast,
    found: Probabilities,
    folder: Path,
    width: int = WIDTH,
    marks: Sequence[Mark] = (),
) -> None:
    """Write ``probability_2mm_h.gif`` and so on: how probable each threshold is, lead by lead.

    Within the radius, where one was asked for; otherwise at each pixel.
    """
    within = "" if found.nearby is None else f" within {found.request.radius}"
    shares = found.exceedance if found.nearby is None else found.nearby
    view = View.of(forecast.description, forecast.mask, width, marks)
    for number, threshold in enumerate(found.thresholds):
        what = f"Probability of {threshold:g} mm/h or more{within}"
        pictures = [
            _probability(forecast, lead, shares[lead, number], what, view, width)
            for lead in range(len(shares))
        ]
        write_paletted(pictures, SHARES, folder / f"probability_{threshold:g}mm_h.gif")


def write_stamps(forecast: Forecast, folder: Path, width: int = WIDTH) -> None:
    """Write ``+005min.png`` and so on: the first members side by side, in colours of rain rate."""
    assert forecast.members is not None
    folder.mkdir(parents=True)
    shown = min(STAMPS, len(forecast.members.pixels))
    columns = min(COLUMNS, shown)
    each = (width - (columns - 1) * GAP) // columns
    view = View.of(forecast.description, forecast.mask, each)
    calibration = forecast.description.calibration
    for lead in range(len(forecast.pixels)):
        stamps = [
            _stamp(view.picture(colours(pixels, forecast.mask, calibration)), number, each)
            for number, pixels in enumerate(forecast.members.pixels[:shown, lead], 1)
        ]
        count = f"{shown} of {len(forecast.members.pixels)} members"
        picture = composed(
            _side_by_side(stamps, columns),
            width,
            heading(forecast, lead),
            [about(forecast), count],
            credits(forecast, view),
            RATES,
            "mm/h",
        )
        picture.save(folder / lead_name(forecast, lead))


def share_colours(
    shares: Float32[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Probabilities in [0, 1] in colour, RGB; NaN is grey."""
    drawn = np.array([colour for _, colour in BANDS], dtype=np.uint8)
    # A hair more, so that a twentieth of the members is 5 %.
    bands = np.searchsorted(EDGES, np.nan_to_num(shares) + 1e-6, side="right") - 1
    return np.where(np.isnan(shares)[..., None], np.array(MASKED, np.uint8), drawn[bands])


def _probability(
    forecast: Forecast,
    lead: int,
    shares: Float32[np.ndarray, "height width"],
    what: str,
    view: View,
    width: int,
) -> Image.Image:
    highest = peak(shares, forecast.description)
    said = "no data"
    if highest is not None:
        said = f"highest {100 * highest.value:.0f} % {highest.where}" if highest.value else "0 %"
    return composed(
        view.picture(share_colours(shares)),
        width,
        heading(forecast, lead),
        [about(forecast), f"{what}: {said}"],
        credits(forecast, view),
        SHARES,
        "per cent",
    )


def _stamp(frame: Image.Image, number: int, width: int) -> Image.Image:
    """A member below its name."""
    size = text_size(3 * width)
    line = round(1.4 * size)
    picture = Image.new("RGB", (width, frame.height + line), PAPER)
    ImageDraw.Draw(picture).text((size // 2, 1), f"member {number}", INK, font(size))
    picture.paste(frame, (0, line))
    return picture


def _side_by_side(stamps: list[Image.Image], columns: int) -> Image.Image:
    """Rows of pictures of one size."""
    width, height = stamps[0].size
    rows = -(-len(stamps) // columns)
    grid = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), PAPER)
    for number, stamp in enumerate(stamps):
        row, column = divmod(number, columns)
        grid.paste(stamp, (column * (width + GAP), row * (height + GAP)))
    return grid
