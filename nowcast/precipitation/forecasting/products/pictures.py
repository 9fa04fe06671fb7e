"""A forecast to look at: a picture for each lead time, and all of them as an animation."""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image, ImageDraw, ImageFont

from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.pictures.render import BANDS, INK, MASKED, colours, write_gif

NARROWEST = 400  # pixels; narrower frames are drawn larger, or no legend would fit
WIDEST_ANIMATED = 480  # pixels; wider frames are thinned out, or the file would be large
FRAME_MS = 300
TEXT_SIZE = 12  # pixels
LINE = 17  # from line to line, pixels
MARGIN = 6
SWATCH = 12  # height of a colour of the legend, pixels
PAPER = (255, 255, 255)
EDGE = (120, 120, 120)


def write_pictures(forecast: Forecast, folder: Path) -> None:
    """Write ``+005min.png`` and so on: each lead time in colours of rain rate."""
    folder.mkdir(parents=True)
    digits = max(3, len(str(_minutes(forecast, -1))))
    for lead in range(len(forecast.pixels)):
        name = f"+{_minutes(forecast, lead):0{digits}d}min.png"
        _picture(forecast, lead, every=1).save(folder / name)


def write_animation(forecast: Forecast, path: Path) -> None:
    """Write all lead times as a GIF of at most `WIDEST_ANIMATED` pixels each way for the frame."""
    every = -(-max(forecast.pixels.shape[1:]) // WIDEST_ANIMATED)
    pictures = [_picture(forecast, lead, every) for lead in range(len(forecast.pixels))]
    palette = _palette()
    paletted = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    write_gif(paletted, path, FRAME_MS, optimize=False)


def _minutes(forecast: Forecast, lead: int) -> int:
    return int((forecast.times[lead] - forecast.init).astype("timedelta64[m]").astype(int))


def _picture(forecast: Forecast, lead: int, every: int) -> Image.Image:
    """Title, frame, legend and credit of a lead time; drawn is one pixel of `every` each way."""
    description = forecast.description
    thinned = (slice(None, None, every), slice(None, None, every))
    frame = _frame(forecast.pixels[lead][thinned], forecast.mask[thinned], forecast)
    width = max(frame.width, NARROWEST)
    above = _wrapped(_title(forecast, lead), width) + _wrapped(
        f"forecaster {forecast.model}", width
    )
    below = [
        line
        for text in (
            f"Drawn is one pixel of {every} each way." if every > 1 else None,
            description.note,
            f"Radar: {description.credit}",
        )
        if text is not None
        for line in _wrapped(text, width)
    ]
    top = len(above) * LINE + MARGIN
    legend = top + frame.height + MARGIN
    foot = legend + SWATCH + LINE + MARGIN
    picture = Image.new("RGB", (width, foot + len(below) * LINE + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    _print(pen, above, 2)
    picture.paste(frame, (0, top))
    pen.rectangle((0, top - 1, frame.width - 1, top + frame.height), outline=EDGE)
    _legend(pen, legend, width)
    _print(pen, below, foot)
    return picture


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


def _title(forecast: Forecast, lead: int) -> str:
    valid, init = (str(time).replace("T", " ") for time in (forecast.times[lead], forecast.init))
    ahead = _minutes(forecast, lead)
    return f"{forecast.description.name}  +{ahead} min, {valid} UTC  (init {init})"


def _legend(pen: ImageDraw.ImageDraw, top: int, width: int) -> None:
    """The lower edge of each band in mm/h, and the grey of what is masked."""
    entries = [(f"{edge:g}", colour) for edge, colour in BANDS]
    unit, absent = "mm/h", "no data"
    right = sum(round(_font().getlength(text)) + 2 * MARGIN for text in (unit, absent))
    step = min(48, (width - MARGIN - right) // len(entries))
    for place, (text, colour) in enumerate(entries):
        left = MARGIN + place * step
        pen.rectangle((left, top, left + step - 3, top + SWATCH), fill=colour, outline=EDGE)
        pen.text((left, top + SWATCH + 1), text, font=_font(), fill=INK)
    left = 2 * MARGIN + len(entries) * step
    pen.text((left, top + SWATCH + 1), unit, font=_font(), fill=INK)
    left += round(_font().getlength(unit)) + 2 * MARGIN
    pen.rectangle((left, top, left + step - 3, top + SWATCH), fill=MASKED, outline=EDGE)
    pen.text((left, top + SWATCH + 1), absent, font=_font(), fill=INK)


def _print(pen: ImageDraw.ImageDraw, lines: list[str], top: int) -> None:
    for number, line in enumerate(lines):
        pen.text((MARGIN, top + number * LINE), line, font=_font(), fill=INK)


def _wrapped(text: str, width: int) -> list[str]:
    """A text in lines that fit, broken between words."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and _font().getlength(longer) > width - 2 * MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


@cache
def _font() -> ImageFont.FreeTypeFont:
    """Matplotlib's own, which has the letters that a credit may need; Pillow's is ASCII."""
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), TEXT_SIZE
    )


def _palette() -> Image.Image:
    """Every colour of the bands as it is, and greys for the text."""
    greys = [(level, level, level) for level in range(0, 256, 5)]
    entries = [colour for _, colour in BANDS] + [MASKED, EDGE, INK, PAPER, *greys]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in entries for value in colour])
    return palette
