"""A forecast to look at: a picture for each lead time, and all of them as an animation."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image

from nowcast.precipitation.forecasting.products.canvas import (
    NARROWEST,
    Entries,
    composed,
    credits,
    lead_name,
    palette,
    title,
)
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.pictures.render import BANDS, colours, write_gif

WIDEST_ANIMATED = 480  # pixels; wider frames are thinned out, or the file would be large
FRAME_MS = 300
RATES: Entries = [(f"{edge:g}", colour) for edge, colour in BANDS]  # the lower edge of each band


def write_pictures(forecast: Forecast, folder: Path) -> None:
    """Write ``+005min.png`` and so on: each lead time in colours of rain rate."""
    folder.mkdir(parents=True)
    for lead in range(len(forecast.pixels)):
        _picture(forecast, lead, every=1).save(folder / lead_name(forecast, lead))


def write_animation(forecast: Forecast, path: Path) -> None:
    """Write all lead times as a GIF of at most `WIDEST_ANIMATED` pixels each way for the frame."""
    every = -(-max(forecast.pixels.shape[1:]) // WIDEST_ANIMATED)
    pictures = [_picture(forecast, lead, every) for lead in range(len(forecast.pixels))]
    held = palette([colour for _, colour in BANDS])
    paletted = [p.quantize(palette=held, dither=Image.Dither.NONE) for p in pictures]
    write_gif(paletted, path, FRAME_MS, optimize=False)


def _picture(forecast: Forecast, lead: int, every: int) -> Image.Image:
    """Title, frame, legend and credit of a lead time; drawn is one pixel of `every` each way."""
    thinned = (slice(None, None, every), slice(None, None, every))
    frame = _frame(forecast.pixels[lead][thinned], forecast.mask[thinned], forecast)
    above = [title(forecast, lead), f"forecaster {forecast.model}"]
    return composed(frame, above, credits(forecast, every), RATES, "mm/h")


def _frame(
    pixels: Float32[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"],
    forecast: Forecast,
) -> Image.Image:
    """A frame in colours, each pixel drawn as a square where the frame is small."""
    calibration = forecast.description.calibration
    drawn = Image.fromarray(colours(pixels, mask, calibration))
    larger = max(1, NARROWEST // max(drawn.size))
    return drawn.resize((larger * drawn.width, larger * drawn.height), Image.Resampling.NEAREST)
