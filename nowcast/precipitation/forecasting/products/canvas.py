"""What all pictures of a forecast share: lines of text, the frame, a legend of colours, credits."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.pictures.render import INK, MASKED

Colour = tuple[int, int, int]
Entries = Sequence[tuple[str, Colour]]  # what stands below a colour of the legend

NARROWEST = 400  # pixels; narrower frames are drawn larger, or no legend would fit
TEXT_SIZE = 12  # pixels
LINE = 17  # from line to line, pixels
MARGIN = 6
SWATCH = 12  # height of a colour of the legend, pixels
PAPER = (255, 255, 255)
EDGE = (120, 120, 120)


def composed(
    frame: Image.Image, above: Sequence[str], below: Sequence[str], entries: Entries, unit: str
) -> Image.Image:
    """Lines of text, the frame, its legend and more text, one below the other.

    Args:
        frame: in colours.
        above: texts; each begins a line, and is wrapped.
        below: the same.
        entries: of the legend; the grey of what is masked is added.
        unit: behind them.
    """
    width = max(frame.width, NARROWEST)
    head = [line for text in above for line in wrapped(text, width)]
    tail = [line for text in below for line in wrapped(text, width)]
    top = len(head) * LINE + MARGIN
    legend = top + frame.height + MARGIN
    foot = legend + SWATCH + LINE + MARGIN
    picture = Image.new("RGB", (width, foot + len(tail) * LINE + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    _print(pen, head, 2)
    picture.paste(frame, (0, top))
    pen.rectangle((0, top - 1, frame.width - 1, top + frame.height), outline=EDGE)
    _legend(pen, legend, width, entries, unit)
    _print(pen, tail, foot)
    return picture


def minutes(forecast: Forecast, lead: int) -> int:
    """Lead time."""
    return int((forecast.times[lead] - forecast.init).astype("timedelta64[m]").astype(int))


def title(forecast: Forecast, lead: int) -> str:
    """Of which radar and of which time a picture is."""
    valid, init = (str(time).replace("T", " ") for time in (forecast.times[lead], forecast.init))
    ahead = minutes(forecast, lead)
    return f"{forecast.description.name}  +{ahead} min, {valid} UTC  (init {init})"


def lead_name(forecast: Forecast, lead: int) -> str:
    """The name of a lead time's file; names sort by time."""
    digits = max(3, len(str(minutes(forecast, -1))))
    return f"+{minutes(forecast, lead):0{digits}d}min.png"


def credits(forecast: Forecast, every: int) -> list[str]:
    """What stands below a picture of which one pixel of `every` each way is drawn."""
    description = forecast.description
    texts = (
        f"Drawn is one pixel of {every} each way." if every > 1 else None,
        description.note,
        f"Radar: {description.credit}",
    )
    return [text for text in texts if text is not None]


def palette(colours: Sequence[Colour]) -> Image.Image:
    """These colours as they are, those of masks, text and paper, and greys for the text."""
    greys = [(level, level, level) for level in range(0, 256, 5)]
    entries = [*colours, MASKED, EDGE, INK, PAPER, *greys]
    held = Image.new("P", (1, 1))
    held.putpalette([value for colour in entries for value in colour])
    return held


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines that fit, broken between words."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and font().getlength(longer) > width - 2 * MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


@cache
def font() -> ImageFont.FreeTypeFont:
    """Matplotlib's own, which has the letters that a credit may need; Pillow's is ASCII."""
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), TEXT_SIZE
    )


def _legend(pen: ImageDraw.ImageDraw, top: int, width: int, entries: Entries, unit: str) -> None:
    """What is below each colour, the unit, and the grey of what is masked."""
    absent = "no data"
    right = sum(round(font().getlength(text)) + 2 * MARGIN for text in (unit, absent))
    step = min(48, (width - MARGIN - right) // len(entries))
    for place, (text, colour) in enumerate(entries):
        left = MARGIN + place * step
        pen.rectangle((left, top, left + step - 3, top + SWATCH), fill=colour, outline=EDGE)
        pen.text((left, top + SWATCH + 1), text, font=font(), fill=INK)
    left = 2 * MARGIN + len(entries) * step
    pen.text((left, top + SWATCH + 1), unit, font=font(), fill=INK)
    left += round(font().getlength(unit)) + 2 * MARGIN
    pen.rectangle((left, top, left + step - 3, top + SWATCH), fill=MASKED, outline=EDGE)
    pen.text((left, top + SWATCH + 1), absent, font=font(), fill=INK)


def _print(pen: ImageDraw.ImageDraw, lines: list[str], top: int) -> None:
    for number, line in enumerate(lines):
        pen.text((MARGIN, top + number * LINE), line, font=font(), fill=INK)
