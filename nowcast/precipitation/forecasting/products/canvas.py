"""What all pictures of a forecast share: a heading, the frame, a legend of colours, credits."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.pictures.lettering import INK, font
from nowcast.precipitation.pictures.render import MASKED
from nowcast.precipitation.pictures.view import LINES, MARK, View

Colour = tuple[int, int, int]
Entries = Sequence[tuple[str, Colour]]  # what stands below a colour of the legend

TEXT_SHARE = 55  # widths of a picture in the height of its letters
PAPER = (255, 255, 255)
EDGE = (120, 120, 120)
PAST, AHEAD = (90, 90, 90), (20, 70, 140)  # behind the time: observed, and forecast


def text_size(width: int) -> int:
    """Height of the letters of a picture so wide, pixels."""
    return max(11, round(width / TEXT_SHARE))


def composed(
    frame: Image.Image,
    width: int,
    heading: tuple[str, Colour],
    above: Sequence[str],
    below: Sequence[str],
    entries: Entries,
    unit: str,
) -> Image.Image:
    """A heading, lines of text, the frame, its legend and more text, one below the other.

    Args:
        frame: in colours, at most `width` wide.
        width: of the picture.
        heading: its text, and the colour behind it.
        above: texts; each begins a line, and is wrapped.
        below: the same.
        entries: of the legend; the grey of what is masked is added.
        unit: behind them.
    """
    size = text_size(width)
    line, margin = round(1.4 * size), size // 2
    head = [part for text in above for part in wrapped(text, width, size)]
    tail = [part for text in below for part in wrapped(text, width, size)]
    band = 2 * size + margin
    top = band + margin + len(head) * line + margin
    legend = top + frame.height + margin
    foot = legend + round(2.4 * size) + margin
    picture = Image.new("RGB", (width, foot + len(tail) * line + margin), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, width, band - 1), heading[1])
    large = round(1.4 * size)
    while large > 8 and font(large, bold=True).getlength(heading[0]) > width - 2 * margin:
        large -= 1
    pen.text((margin, band / 2), heading[0], PAPER, font(large, bold=True), anchor="lm")
    for lines, start in ((head, band + margin), (tail, foot)):
        for number, part in enumerate(lines):
            pen.text((margin, start + number * line), part, INK, font(size))
    picture.paste(frame, (0, top))
    pen.rectangle((0, top - 1, frame.width - 1, top + frame.height), outline=EDGE)
    _legend(pen, legend, width, entries, unit)
    return picture


def heading(forecast: Forecast, lead: int) -> tuple[str, Colour]:
    """When a picture is of, and the colour behind that; a lead below 0 is of an observed frame,
    -1 of the newest."""
    if lead < 0:
        assert forecast.observed is not None
        time = forecast.observed.times[lead]
        before = int((forecast.init - time).astype("timedelta64[m]").astype(int))
        ago = f"{before} min before the forecast" if before else "the forecast starts here"
        return f"observed {_clock(time)} UTC, {ago}", PAST
    return f"+{minutes(forecast, lead)} min   {_clock(forecast.times[lead])} UTC", AHEAD


def about(forecast: Forecast) -> str:
    """Of which radar a picture is, by what and since when."""
    return (
        f"{forecast.description.name}, forecaster {forecast.model}, init {_clock(forecast.init)} "
        "UTC"
    )


def minutes(forecast: Forecast, lead: int) -> int:
    """Lead time."""
    return int((forecast.times[lead] - forecast.init).astype("timedelta64[m]").astype(int))


def lead_name(forecast: Forecast, lead: int) -> str:
    """The name of a lead time's file; names sort by time."""
    digits = max(3, len(str(minutes(forecast, -1))))
    return f"+{minutes(forecast, lead):0{digits}d}min.png"


def credits(forecast: Forecast, view: View) -> list[str]:
    """What stands below a picture."""
    description = forecast.description
    texts = (
        "The radar has more pixels than this picture: not all are drawn." if view.thinned else None,
        "No map: the archive does not state where it lies." if view.map is None else None,
        description.note,
        f"Radar: {description.credit}",
        view.credit,
    )
    return [text for text in texts if text is not None]


def palette(colours: Sequence[Colour]) -> Image.Image:
    """These colours as they are, those of masks, lines and text, and greys for the text."""
    greys = [(level, level, level) for level in range(0, 256, 5)]
    entries = [*colours, MASKED, EDGE, INK, PAPER, *LINES.values(), MARK, PAST, AHEAD, *greys]
    held = Image.new("P", (1, 1))
    held.putpalette([value for colour in entries for value in colour])
    return held


def wrapped(text: str, width: int, size: int) -> list[str]:
    """A text in lines that fit, broken between words."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and font(size).getlength(longer) > width - size:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _clock(time: object) -> str:
    return str(time).replace("T", " ")


def _legend(pen: ImageDraw.ImageDraw, top: int, width: int, entries: Entries, unit: str) -> None:
    """What is below each colour, the unit, and the grey of what is masked."""
    size = text_size(width)
    gap = size // 2
    absent = "no data"
    right = sum(round(font(size).getlength(text)) + 2 * gap for text in (unit, absent))
    step = (width - gap - right) // len(entries)
    for place, (text, colour) in enumerate(entries):
        left = gap + place * step
        pen.rectangle((left, top, left + step - 3, top + size), fill=colour, outline=EDGE)
        pen.text((left, top + size + 2), text, font=font(size), fill=INK)
    left = 2 * gap + len(entries) * step
    pen.text((left, top + size + 2), unit, font=font(size), fill=INK)
    left += round(font(size).getlength(unit)) + 2 * gap
    end = left + round(font(size).getlength(absent))
    pen.rectangle((left, top, end, top + size), fill=MASKED, outline=EDGE)
    pen.text((left, top + size + 2), absent, font=font(size), fill=INK)
