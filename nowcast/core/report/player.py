"""Forecasts to scrub through time: what a task draws, and how it is kept to be shown in a page."""

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from nowcast.core.storage.files import write_json

Frames = UInt8[np.ndarray, "_ _ _ 3"]  # lead height width RGB


@dataclass(frozen=True)
class Scale:
    """What the colours of frames mean.

    Args:
        title: of the legend, with the unit.
        bands: label and RGB colour of each, e.g. its lower edge.
    """

    title: str
    bands: Sequence[tuple[str, tuple[int, int, int]]]


@dataclass(frozen=True)
class Reel:
    """One sample as forecasters see it coming, in RGB frames of one size.

    Args:
        caption: which sample it is.
        labels: of each lead time, e.g. ``+5 min, 14:10 UTC``.
        truth: what came.
        forecasts: forecaster -> its frames.
        differences: forecaster -> forecast less truth; empty: there are none to show.
        scale: of truth and forecasts.
        difference_scale: of differences; None where there are none.
        note: what a reader must know of the frames.

    Raises:
        ValueError: frames differ in shape from the truth's, or labels in number.
    """

    caption: str
    labels: Sequence[str]
    truth: Frames
    forecasts: Mapping[str, Frames]
    differences: Mapping[str, Frames] = field(default_factory=dict)
    scale: Scale | None = None
    difference_scale: Scale | None = None
    note: str = ""

    def __post_init__(self) -> None:
        expected = (len(self.labels), *self.truth.shape[1:])
        named = chain([("truth", self.truth)], self.forecasts.items(), self.differences.items())
        for name, frames in named:
            if frames.shape != expected:
                raise ValueError(
                    f"{self.caption}: expected frames of shape {expected} for the labels and the "
                    f"truth, found {frames.shape} of {name}"
                )


@dataclass(frozen=True)
class View:
    """The frames of one forecaster side by side in one picture, a film strip.

    Args:
        forecaster: whose; None is the truth.
        kind: ``truth``, ``forecast`` or ``difference``.
        png: content of a PNG file in base64.
    """

    forecaster: str | None
    kind: str
    png: str


@dataclass(frozen=True)
class Film:
    """A reel as it is stored and shown.

    Args:
        caption: as in `Reel`.
        labels: as in `Reel`.
        note: as in `Reel`.
        height: of one frame, pixels.
        width: of one frame, pixels.
        views: the truth first.
        scales: kind -> its scale.
    """

    caption: str
    labels: Sequence[str]
    note: str
    height: int
    width: int
    views: Sequence[View]
    scales: Mapping[str, Scale]

    @property
    def forecasters(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(v.forecaster for v in self.views if v.forecaster is not None))

    @property
    def has_differences(self) -> bool:
        """Whether there are any to show."""
        return any(view.kind == "difference" for view in self.views)

    @classmethod
    def of(cls, reel: Reel) -> "Film":
        """The reel with its frames as PNG."""
        views = [View(None, "truth", _film_strip(reel.truth))]
        for name, frames in reel.forecasts.items():
            views.append(View(name, "forecast", _film_strip(frames)))
            if name in reel.differences:
                views.append(View(name, "difference", _film_strip(reel.differences[name])))
        scales = {"truth": reel.scale, "difference": reel.difference_scale}
        return cls(
            caption=reel.caption,
            labels=reel.labels,
            note=reel.note,
            height=reel.truth.shape[1],
            width=reel.truth.shape[2],
            views=views,
            scales={kind: scale for kind, scale in scales.items() if scale is not None},
        )


def write_films(path: Path, reels: Iterable[Reel]) -> None:
    """Store reels as one JSON file: a reader sees the old ones or the new ones, never a mixture."""
    write_json(path, [asdict(Film.of(reel)) for reel in reels])


def read_films(path: Path) -> list[Film]:
    """What `write_films` stored.

    Raises:
        OSError: there is no such file.
        ValueError, KeyError, TypeError: it is of something else.
    """
    return [
        Film(
            **content
            | {
                "views": [View(**view) for view in content["views"]],
                "scales": {kind: _scale(**scale) for kind, scale in content["scales"].items()},
            }
        )
        for content in json.loads(path.read_text())
    ]


def _scale(title: str, bands: Iterable[Sequence[Any]]) -> Scale:
    return Scale(title, [(label, (red, green, blue)) for label, (red, green, blue) in bands])


def _film_strip(frames: Frames) -> str:
    """One PNG in base64 of all frames, from left to right; few colours take few bits."""
    from PIL import Image

    strip = np.concatenate(list(frames), axis=1)
    packed = strip.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, places = np.unique(packed, return_inverse=True)
    if len(colours) <= 256:
        picture = Image.fromarray(places.reshape(packed.shape).astype(np.uint8), "P")
        picture.putpalette([int(c >> shift & 255) for c in colours for shift in (16, 8, 0)])
    else:
        picture = Image.fromarray(strip)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
