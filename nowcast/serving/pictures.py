"""Frames of a forecast as PNG with nothing where there is no data, and the map as SVG."""

from io import BytesIO

import numpy as np
from jaxtyping import Float16
from PIL import Image

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasting.products.ensemble.pictures import BANDS as SHARES
from nowcast.precipitation.pictures.located import located
from nowcast.precipitation.pictures.render import BANDS as RATES
from nowcast.serving.content import RAIN, Layer

MOST_PLACES = 25


def bands(layer: str) -> list[tuple[float, tuple[int, int, int]]]:
    """Lower edge of each colour of a layer, mm/h or a fraction."""
    return list(RATES) if layer == RAIN else [(edge / 100, colour) for edge, colour in SHARES]


def png(layer: Layer, number: int) -> bytes:
    """A frame, a pixel of the radar each, transparent where there is no data."""
    shown = bands(layer.name)
    values: Float16[np.ndarray, "height width"] = layer.values[number]
    edges = np.array([edge for edge, _ in shown], np.float32)
    # As in `ensemble_pictures`: a hair more, so that a twentieth of the members is 5 %.
    above = np.nan_to_num(values.astype(np.float32)) + (0 if layer.name == RAIN else 1e-3)
    index = np.searchsorted(edges, above, side="right") - 1
    picture = Image.fromarray(
        np.where(np.isnan(values), len(shown), index.clip(0)).astype(np.uint8), "P"
    )
    picture.putpalette([part for _, colour in shown for part in colour] + [0, 0, 0])
    file = BytesIO()
    picture.save(file, "PNG", transparency=len(shown))
    return file.getvalue()


def map_svg(description: Description) -> bytes:
    """Coasts, borders, lakes and the largest cities over the frame, in its pixels."""
    height, width = description.height, description.width
    found = located(description)
    parts = []
    colours = {"coast": "#333", "lake": "#555", "border": "#963c78"}
    if found is not None:
        for kind, line in found.lines:
            if (line.min(0) > (width, height)).any() or (line.max(0) < 0).any():
                continue
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
            parts.append(f'<polyline points="{points}" stroke="{colours[kind]}"/>')
    return (
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'preserveAspectRatio="none" fill="none"><g stroke-width="1">{"".join(parts)}</g></svg>'
        )
        .replace("/>", ' vector-effect="non-scaling-stroke"/>')
        .encode()
    )


def places(description: Description) -> list[dict[str, object]]:
    """The largest cities: name, and where they are as shares of the frame's width and height."""
    found = located(description)
    if found is None:
        return []
    shares = found.places[:MOST_PLACES] / (description.width, description.height)
    return [
        {"name": name, "x": round(float(x), 4), "y": round(float(y), 4)}
        for name, (x, y) in zip(found.names, shares, strict=False)
    ]
