"""Frames survive being stored to the last pixel, and a reel that does not fit is refused."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nowcast.core.report.player import Film, Reel, Scale, read_films, write_films


def frames(seed: int, colours: int) -> np.ndarray:
    """Three frames of 4x6 pixels in so many colours."""
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    return palette[rng.integers(0, colours, (3, 4, 6))]


def reel(**changes) -> Reel:
    content = {
        "caption": "init 12:00",
        "labels": ("+5 min", "+10 min", "+15 min"),
        "truth": frames(0, 5),
        "forecasts": {"A": frames(1, 300), "B": frames(2, 1)},
        "differences": {"A": frames(3, 12)},
        "scale": Scale("mm/h", [("0", (250, 250, 250)), ("5", (0, 0, 255))]),
        "note": "Every second pixel.",
    }
    return Reel(**content | changes)


def decoded(png: str) -> np.ndarray:
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))
    return np.stack(np.split(strip, 3, axis=1))


def test_what_is_stored_is_what_was_drawn(tmp_path: Path):
    made = reel()
    write_films(tmp_path / "films.json", [made, made])
    film, again = read_films(tmp_path / "films.json")
    assert film == again
    assert [(view.forecaster, view.kind) for view in film.views] == [
        (None, "truth"),
        ("A", "forecast"),
        ("A", "difference"),
        ("B", "forecast"),
    ]
    drawn = [made.truth, made.forecasts["A"], made.differences["A"], made.forecasts["B"]]
    for view, expected in zip(film.views, drawn, strict=True):
        np.testing.assert_array_equal(decoded(view.png), expected)
    assert (film.width, film.height) == (6, 4)
    assert film.forecasters == ["A", "B"]
    assert film.has_differences and not Film.of(reel(differences={})).has_differences
    assert list(film.scales) == ["truth"]
    assert film.scales["truth"].bands[1] == ("5", (0, 0, 255))
    assert (film.caption, film.note) == (made.caption, made.note)


def test_few_colours_take_few_bits():
    large = np.tile(frames(0, 12), (1, 40, 40, 1))
    mode = {}
    for name, pixels in (("few", large), ("many", np.tile(frames(0, 300), (1, 40, 40, 1)))):
        made = reel(truth=pixels, forecasts={}, differences={})
        png = base64.b64decode(Film.of(made).views[0].png)
        mode[name] = (png[24], png[25])  # bits a sample, and kind of colour, of the PNG header
    assert mode["few"] == (4, 3)  # a palette of at most 16
    assert mode["many"][1] in (2, 3)


def test_no_reels_are_no_films(tmp_path: Path):
    write_films(tmp_path / "films.json", [])
    assert read_films(tmp_path / "films.json") == []


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"labels": ("+5 min",)}, "truth"),
        ({"forecasts": {"B": frames(0, 5)[:2]}}, "B"),
        ({"differences": {"A": frames(0, 5)[:, :3]}}, "A"),
    ],
)
def test_frames_that_do_not_fit_are_refused(changes, culprit: str):
    with pytest.raises(ValueError, match=rf"init 12:00: expected frames of shape .* of {culprit}$"):
        reel(**changes)
