"""The wettest clips as each forecaster sees them coming, in colours, for the player of a page."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import nn

from nowcast.core.memel.modes import evaluating
from nowcast.core.report.player import Reel, Scale
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.clips.clips import Clips
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.pictures.render import BANDS, MASKED, colours
from nowcast.precipitation.pictures.view import View

CLIPS = 2
WIDEST = 240  # pixels; two reels of six forecasters on 480x480 then fit into a page of 6 MB

# Upper edge of each band of forecast less truth in mm/h, and its RGB colour: too dry is brown,
# too wet is blue-green (ColorBrewer's BrBG, told apart with any colour vision); -0.5 to 0.5, the
# least threshold of the benchmark, is white.
DIFFERENCE_BANDS: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (-20.0, (84, 48, 5)),
    (-10.0, (140, 81, 10)),
    (-5.0, (191, 129, 45)),
    (-2.0, (223, 194, 125)),
    (-0.5, (246, 232, 195)),
    (0.5, (250, 250, 250)),
    (2.0, (199, 234, 229)),
    (5.0, (128, 205, 193)),
    (10.0, (53, 151, 143)),
    (20.0, (1, 102, 94)),
    (np.inf, (0, 60, 48)),
)
MIDDLE = len(DIFFERENCE_BANDS) // 2


def forecast(
    model: nn.Module, batch: RadarBatch
) -> Float[np.ndarray, "batch out_len height width"]:
    """A model's forecast of a batch, pixels in [0, 1]; the model is left in the mode it was in."""
    device = next(iter(model.parameters()), torch.zeros(())).device
    with evaluating(model):
        moved = batch.to(device)
        prediction = model(moved.inputs, moved.input_mask).clamp(0, 1).cpu()
    return np.asarray(prediction[:, :, 0].numpy())


def difference_colours(
    difference_mm_h: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """A difference of rain rates in colour, RGB; masked pixels are grey."""
    palette = np.array([colour for _, colour in DIFFERENCE_BANDS], dtype=np.uint8)
    edges = [edge for edge, _ in DIFFERENCE_BANDS[:-1]]
    drawn = palette[np.searchsorted(edges, difference_mm_h)]
    return np.where(mask[..., None], drawn, np.array(MASKED, np.uint8))


def reels(clips: Clips, models: Mapping[str, nn.Module]) -> list[Reel]:
    """Truth, forecasts and differences of the wettest clips.

    Args:
        clips: of a split.
        models: forecaster -> its model.
    """
    batch = clips.batch([Draw(clip) for clip in clips.wettest(CLIPS)])
    forecasts = {name: forecast(model, batch) for name, model in models.items()}
    return [
        _reel(batch, {name: frames[clip] for name, frames in forecasts.items()}, clip, clips)
        for clip in range(len(batch.levels))
    ]


def _reel(batch: RadarBatch, forecasts: Mapping[str, np.ndarray], clip: int, clips: Clips) -> Reel:
    calibration = clips.archive.calibration
    truth, mask = (frames[clip, :, 0].numpy() for frames in (batch.truth, batch.truth_mask))
    whole = np.ones(truth.shape[1:], dtype=bool)
    view = View.of(clips.description, whole, min(WIDEST, truth.shape[-1]))
    rate = calibration.rate_from_pixel

    def seen(frames: Iterable[np.ndarray]) -> np.ndarray:
        return np.stack([np.asarray(view.picture(frame)) for frame in frames])

    def painted(frames: np.ndarray) -> np.ndarray:
        return seen(colours(f, m, calibration) for f, m in zip(frames, mask, strict=True))

    def compared(frames: np.ndarray) -> np.ndarray:
        differences = rate(frames) - rate(truth)
        return seen(difference_colours(d, m) for d, m in zip(differences, mask, strict=True))

    times = batch.times[clip].numpy().astype("datetime64[m]")
    init = times[batch.in_len - 1]
    notes = ["Masked pixels are grey: they are not scored."]
    if view.thinned:
        notes.append("Not all pixels are drawn; scores are of all.")
    if view.credit is not None:
        notes.append("Lines: Natural Earth.")
    return Reel(
        caption=f"init {str(init).replace('T', ' ')} UTC",
        labels=[f"+{(t - init).astype(int)} min, {str(t)[11:]} UTC" for t in times[batch.in_len :]],
        truth=painted(truth),
        forecasts={name: painted(frames) for name, frames in forecasts.items()},
        differences={name: compared(frames) for name, frames in forecasts.items()},
        scale=Scale("rain rate from, mm/h", [(f"{edge:g}", colour) for edge, colour in BANDS]),
        difference_scale=Scale("forecast less truth, beyond, mm/h", _difference_labels()),
        note=" ".join(notes),
    )


def _difference_labels() -> list[tuple[str, tuple[int, int, int]]]:
    """Each band by its edge towards zero, which the middle one is about."""
    edges = [edge for edge, _ in DIFFERENCE_BANDS]
    towards_zero = [*edges[:MIDDLE], 0.0, *edges[MIDDLE:-1]]
    return [
        (f"{edge:+g}" if edge else "0", colour)
        for edge, (_, colour) in zip(towards_zero, DIFFERENCE_BANDS, strict=True)
    ]
