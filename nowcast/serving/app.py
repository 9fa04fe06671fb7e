"""The pages and answers of `nowcast serve`."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Response
from fastapi.responses import JSONResponse

from nowcast.precipitation.pictures.world import CREDIT
from nowcast.serving.content import RAIN, Content, Layer
from nowcast.serving.folder import Folder, State
from nowcast.serving.guard import Application, Guard
from nowcast.serving.pictures import bands, map_svg, places, png
from nowcast.serving.points import NotThere, checked, pixel_of, series

MAX_AGE_MINUTES = 30.0
FOREVER = {"cache-control": "public, max-age=86400, immutable"}  # its address has the init time
NEVER = {"cache-control": "no-store"}
PAGE = {
    "": ("index.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
    "series.js": ("series.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
PASSED_ON = ("state", "rung", "rung_reason", "made_at", "last_frame", "latency_seconds")

Now = Callable[[], np.datetime64]


def utc_now() -> np.datetime64:
    """The time, UTC."""
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s")


def application(
    root: Path,
    max_age_minutes: float = MAX_AGE_MINUTES,
    rate: float = 100.0,
    now: Now = utc_now,
) -> Application:
    """The ASGI application over a folder of forecasts.

    Args:
        root: what `watch` or `forecast` writes to.
        max_age_minutes: an older forecast is too old: ``/healthz`` answers 503, the page says so.
        rate: requests a second of an address.
        now: tells the time.

    Raises:
        ConfigError: there is no such folder.
    """
    folder = Folder(root)
    # Its own documentation pages would load scripts from elsewhere.
    app = FastAPI(title="nowcast", docs_url=None, redoc_url=None, openapi_url=None)
    get = partial(app.api_route, methods=["GET", "HEAD"])
    cached = lru_cache(maxsize=512)(_frame)

    def there() -> Content:
        content = folder.state().content
        if content is None:
            raise HTTPException(503, "there is no forecast yet")
        return content

    @get("/healthz")
    def healthz() -> JSONResponse:
        told = _health(folder.state(), max_age_minutes, now())
        return JSONResponse(told, 200 if told["ok"] else 503, headers=NEVER)

    @get("/latest.json")
    def latest() -> JSONResponse:
        state = folder.state()
        shown = {} if state.content is None else _shown(state.content)
        told = _health(state, max_age_minutes, now())
        return JSONResponse({**shown, "health": told}, headers=NEVER)

    @get("/point")
    def point(
        lat: Annotated[float | None, Query(ge=-90, le=90, allow_inf_nan=False)] = None,
        lon: Annotated[float | None, Query(ge=-360, le=360, allow_inf_nan=False)] = None,
        row: Annotated[int | None, Query(ge=0)] = None,
        column: Annotated[int | None, Query(ge=0)] = None,
    ) -> JSONResponse:
        content = there()
        try:
            if lat is not None and lon is not None:
                pixel = pixel_of(content, lat, lon)
            elif row is not None and column is not None:
                pixel = checked(content, row, column)
            else:
                raise HTTPException(400, "expected lat and lon, or row and column")
        except NotThere as error:
            raise HTTPException(404, str(error)) from error
        return JSONResponse(series(content, *pixel), headers=NEVER)

    @get("/frames/{key}/{name}/{number}.png")
    def frame(key: str, name: str, number: int) -> Response:
        content = there()
        layer = content.layers.get(name)
        if key != content.key or layer is None or not 0 <= number < len(layer.times):
            raise HTTPException(404, "no such frame of the newest forecast; see /latest.json")
        return Response(cached(_Same(layer, key), number), media_type="image/png", headers=FOREVER)

    @get("/frames/{key}/map.svg")
    def map_(key: str) -> Response:
        content = there()
        if key != content.key:
            raise HTTPException(404, "no such forecast; see /latest.json")
        drawn = map_svg(content.description)
        return Response(drawn, media_type="image/svg+xml", headers=FOREVER)

    for address, (name, kind) in PAGE.items():
        _static(get, address, files("nowcast.serving").joinpath("page", name).read_bytes(), kind)
    return Guard(app, rate=rate, burst=5 * rate)


class _Same:
    """A layer as the key of a cache: by its forecast and name, not by its pixels."""

    def __init__(self, layer: Layer, key: str) -> None:
        self.layer, self.key = layer, (key, layer.name, id(layer))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.key == self.key


def _frame(layer: _Same, number: int) -> bytes:
    return png(layer.layer, number)


def _static(
    get: Callable[[str], Callable[[Any], Any]], address: str, content: bytes, kind: str
) -> None:
    @get(f"/{address}")
    def page() -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})


def _health(state: State, max_age_minutes: float, now: np.datetime64) -> dict[str, Any]:
    age = state.age_minutes(now)
    return {
        "ok": age is not None and age <= max_age_minutes,
        "init": None if state.content is None else f"{state.content.init}Z",
        "age_minutes": None if age is None else round(age, 1),
        "max_age_minutes": max_age_minutes,
        "fault": state.fault,
        **{name: state.health[name] for name in PASSED_ON if name in state.health},
    }


def _shown(content: Content) -> dict[str, Any]:
    """What the page must know of a forecast."""
    description = content.description
    sides = None if description.grid_fault is not None else description.pixel_km
    wide, tall = sides or (1.0, 1.0)
    at = f"/frames/{content.key}"
    return {
        "init": f"{content.init}Z",
        "model": content.model,
        "archive": description.name,
        "credits": [
            text
            for text in (
                description.note,
                f"Radar: {description.credit}",
                CREDIT if sides else "No map: the archive does not state where it lies.",
            )
            if text is not None
        ],
        "height": description.height,
        "width": description.width,
        "km_per_pixel": None if sides is None else wide,
        "aspect": description.width * wide / (description.height * tall),
        "has_grid": sides is not None,
        "map": f"{at}/map.svg" if sides else None,
        "places": places(description),
        "covered": _covered(content),
        "layers": [_layer(content, layer, at) for layer in content.layers.values()],
    }


def _covered(content: Content) -> list[float]:
    """Left, top, right and bottom of what has data, as shares of the frame."""
    known = ~np.isnan(content.layers[RAIN].values[-1])
    rows, columns = np.flatnonzero(known.any(1)), np.flatnonzero(known.any(0))
    if not len(rows):
        return [0, 0, 1, 1]
    height, width = known.shape
    edges = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width)
    return [round(float(edge), 4) for edge in (*edges, (rows[-1] + 1) / height)]


def _layer(content: Content, layer: Layer, at: str) -> dict[str, Any]:
    rain = layer.name == RAIN
    return {
        "name": layer.name,
        "title": layer.title,
        "unit": "mm/h" if rain else "%",
        "legend": [
            [f"{edge if rain else 100 * edge:g}", "#{:02x}{:02x}{:02x}".format(*colour)]
            for edge, colour in bands(layer.name)
        ],
        "frames": [
            {
                "url": f"{at}/{layer.name}/{number}.png",
                "time": f"{time}Z",
                "lead_minutes": int(minutes),
                "kind": "observed" if rain and number < content.observed else "forecast",
            }
            for number, (time, minutes) in enumerate(
                zip(layer.times, content.minutes(layer), strict=True)
            )
        ],
    }
