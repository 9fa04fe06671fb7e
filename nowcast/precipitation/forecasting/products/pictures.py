"""A forecast to look at: a picture for each lead time, and an animation from observed to last."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image

from nowcast.precipitation.forecasting.products.canvas import (
    Entries,
    about,
    composed,
    credits,
    heading,
    lead_name,
    palette,
)
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.products.widths import WIDTH
from nowcast.precipitation.forecasting.products.words import rain_in_words
from nowcast.precipitation.pictures.render import BANDS, colours, write_gif
from nowcast.precipitation.pictures.view import Mark, View

FRAME_MS = 300
RATES: Entries = [(f"{edge:g}", colour) for edge, colour in BANDS]  # the lower edge of each band


def write_pictures(
    forecast: Forecast, folder: Path, width: int = WIDTH, marks: Sequence[Mark] = ()
) -> None:
    """Write ``+005min.png`` and so on, `width` pixels wide: each lead time in colours of rain
    rate, with `marks` pointed out."""
    folder.mkdir(parents=True)
    view = View.of(forecast.description, forecast.mask, width, marks)
    for lead in range(len(forecast.pixels)):
        _picture(forecast, lead, view, width).save(folder / lead_name(forecast, lead))


def write_animation(
    forecast: Forecast, path: Path, width: int = WIDTH, marks: Sequence[Mark] = ()
) -> None:
    """Write the last observed frames and then all lead times as a GIF."""
    view = View.of(forecast.description, forecast.mask, width, marks)
    seen = 0 if forecast.observed is None else len(forecast.observed.times)
    pictures = [
        _picture(forecast, lead, view, width) for lead in range(-seen, len(forecast.pixels))
    ]
    write_paletted(pictures, RATES, path)


def write_paletted(pictures: Sequence[Image.Image], entries: Entries, path: Path) -> None:
    """Write pictures as a GIF in which each colour of a legend stays what it is."""
    held = palette([colour for _, colour in entries])
    paletted = [p.quantize(palette=held, dither=Image.Dither.NONE) for p in pictures]
    write_gif(paletted, path, FRAME_MS, optimize=False)


def _picture(forecast: Forecast, lead: int, view: View, width: int) -> Image.Image:
    """Heading, frame, legend and credit of a lead time, or below 0 of an observed frame."""
    pixels, mask = _shown(forecast, lead)
    calibration = forecast.description.calibration
    rain = rain_in_words(calibration.rate_from_pixel(pixels), mask, forecast.description)
    frame = view.picture(colours(pixels, mask, calibration))
    above = [about(forecast), rain]
    return composed(
        frame, width, heading(forecast, lead), above, credits(forecast, view), RATES, "mm/h"
    )


def _shown(
    forecast: Forecast, lead: int
) -> tuple[Float32[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    if lead >= 0:
        return forecast.pixels[lead], forecast.mask
    assert forecast.observed is not None
    return forecast.observed.pixels[lead], forecast.observed.mask[lead]
