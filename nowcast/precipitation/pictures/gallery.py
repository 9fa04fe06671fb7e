"""Pictures of a leaderboard: events, spectra, and its best and worst episode as animations."""

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from nowcast.core.report.charts import LINE_WIDTH, legend_names, lines
from nowcast.core.scoring.pooling import pooled
from nowcast.core.scoring.sums import Sums
from nowcast.core.storage.files import write_json, write_whole
from nowcast.core.terminal.plain import add_legend
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.clips.clips import Clips
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.pictures.ensembles import rank_histogram, reliability_diagram
from nowcast.precipitation.pictures.reel import forecast
from nowcast.precipitation.pictures.render import side_by_side, write_gif
from nowcast.precipitation.pictures.view import View
from nowcast.precipitation.units import PIXEL_LEVELS, THRESHOLD_NAMES
from nowcast.precipitation.verification.ensembles.diagrams import diagrams
from nowcast.precipitation.verification.spectrum import wavelengths

Parts = Mapping[str, Mapping[str, Sums]]  # forecaster -> block -> its sums, of `verify`

DPI = 110
FRAME_MS = 400
LEAST_WIDTH, LEAST_TILE = 800, 300  # pixels; of an animation, and of each of its forecasts
MARKERS = "osD^v"  # one a threshold
SHOWN_SCORES = np.arange(0.1, 1, 0.1)  # lines of equal CSI
SHOWN_BIASES = (0.25, 0.5, 1, 2, 4)  # lines of equal bias


def performance_diagram(parts: Parts) -> Figure:
    """POD against success ratio (1 - FAR), with lines of equal CSI and of equal bias.

    Roebber 2009, doi:10.1175/2008WAF2222159.1. The better a forecast, the nearer it is to the
    upper right. From the counts over all lead times.
    """
    figure = Figure(figsize=(7.6, 5.6), layout="constrained")
    axes = figure.add_subplot()
    success, pod = np.meshgrid(np.linspace(0.005, 1, 200), np.linspace(0.005, 1, 200))
    csi = 1 / (1 / success + 1 / pod - 1)
    drawn = axes.contour(success, pod, csi, SHOWN_SCORES, colors="#cccccc", linewidths=0.8)
    axes.clabel(drawn, fmt="CSI %.1f", fontsize=7)
    for bias in SHOWN_BIASES:
        end = min(1.0, 1 / bias)
        axes.plot([0, end], [0, end * bias], color="#cccccc", linewidth=0.8, linestyle="--")
        axes.annotate(f"bias {bias:g}", (end, end * bias), fontsize=7, color="#777777")
    shown: dict[str, Artist] = {}
    points = {name: _success_and_pod(blocks) for name, blocks in parts.items()}
    names = legend_names({name: np.nan_to_num(at).tolist() for name, at in points.items()})
    for name, line in lines(parts).items():
        x, y = points[name]
        (shown[names[name]],) = axes.plot(
            x, y, color=line.colour, linestyle=line.style, linewidth=0.9
        )
        for place, marker in enumerate(MARKERS):
            axes.plot(x[place], y[place], marker, color=line.colour, markersize=6)
    for marker, threshold in zip(MARKERS, THRESHOLD_NAMES, strict=True):
        (shown[f"≥ {threshold} mm/h"],) = axes.plot([], [], marker, color="#555555")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="success ratio (1 - FAR)", ylabel="POD")
    add_legend(figure, shown, loc="outside right upper", fontsize=8)
    return figure


def _success_and_pod(blocks: Mapping[str, Sums]) -> NDArray[np.float64]:
    """Success ratio and POD by threshold, ``2 threshold``; NaN where undefined."""
    sums = pooled(list(blocks.values()))
    hits, misses, false_alarms = (
        sums[count].sum(-1).astype(float) for count in ("hits", "misses", "false_alarms")
    )
    with np.errstate(invalid="ignore"):
        return np.stack([hits / (hits + false_alarms), hits / (hits + misses)])


def spectra(parts: Parts, step_minutes: int) -> Figure:
    """Mean power spectra of the pixels at the first and the last lead time, and of the truth.

    A curve below the truth's lacks variance at that wavelength: it is blurred.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    styles = lines(parts)
    panels: tuple[Axes, Axes] = tuple(figure.subplots(1, 2, sharey=True))
    shown: dict[str, Artist] = {}
    power = {name: pooled(list(parts[name].values()))["power_prediction"] for name in styles}
    truth = pooled(list(next(iter(parts.values())).values()))["power_truth"]
    length = wavelengths(len(truth))
    minutes = step_minutes, step_minutes * truth.shape[1]  # first and last lead time
    names = legend_names({name: found[1:, [0, -1]].tolist() for name, found in power.items()})
    for axes, lead in zip(panels, (0, -1), strict=True):
        (shown["truth"],) = axes.plot(
            length, truth[1:, lead], color="#999999", linewidth=4, label="truth"
        )
        for name, line in styles.items():
            (shown[names[name]],) = axes.plot(
                length,
                power[name][1:, lead],
                color=line.colour,
                linestyle=line.style,
                linewidth=LINE_WIDTH,
                label=name,
            )
        axes.set_xscale("log")
        axes.set_title(f"+{minutes[lead]:g} min", fontsize=10)
        axes.set_xlabel("wavelength, pixels")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.invert_xaxis()
    # Of dry frames, or frames of two pixels a side, there is no power to take the logarithm of.
    drawn = [found[1:, [0, -1]] for found in (truth, *power.values())]
    if any((values > 0).any() for values in drawn):
        panels[0].set_yscale("log")  # for both, which share it
    panels[0].set_ylabel("power of the pixels in [0, 1]")
    add_legend(figure, shown, loc="outside right upper", fontsize=8)
    return figure


def best_and_worst(
    parts: Parts, reference: str, read: Callable[[Sums], Mapping[str, float | None]]
) -> dict[str, tuple[str, str]]:
    """The forecaster with the least B-MSE, and the blocks in which it does best and worst.

    Best is where its B-MSE is below the reference's by most, worst where by least or where it is
    above: differences, not ratios, which are large where there is hardly any rain. With one block
    there is no worst. The reference is no candidate itself.

    Args:
        parts: of all forecasters.
        reference: that is among them.
        read: the scores of sums, ``b_mse`` among them.

    Returns:
        ``best`` and ``worst`` -> (forecaster, block); nothing where there is none.
    """
    errors = {
        name: error
        for name, blocks in parts.items()
        if name != reference and (error := read(pooled(list(blocks.values())))["b_mse"]) is not None
    }
    if not errors:
        return {}
    leader = min(errors, key=errors.__getitem__)
    gain = {
        block: start - own
        for block, sums in parts[leader].items()
        if (own := read(sums)["b_mse"]) is not None
        and (start := read(parts[reference][block])["b_mse"]) is not None
    }
    if not gain:
        return {}
    best, worst = max(gain, key=gain.__getitem__), min(gain, key=gain.__getitem__)
    return {"best": (leader, best)} | ({"worst": (leader, worst)} if worst != best else {})


def animation(
    batch: RadarBatch,
    forecasts: Mapping[str, NDArray[np.float32]],
    description: Description,
) -> list[Image.Image]:
    """Truth and every forecast of the first clip of a batch, side by side on the map, one picture
    a lead time.

    Args:
        batch: the clip.
        forecasts: forecaster -> its pixels in [0, 1], ``out_len height width``.
        description: of the clip's frames.
    """
    levels = batch.levels[0, batch.in_len :, 0].numpy() / np.float32(PIXEL_LEVELS)
    masks = batch.truth_mask[0, :, 0].numpy()
    times = batch.times[0].numpy().astype("datetime64[m]")
    columns = ceil(sqrt(1 + len(forecasts)))
    covered = np.asarray(masks.any(0))
    view = View.of(description, covered, max(LEAST_TILE, ceil(LEAST_WIDTH / columns)))
    pictures = []
    for lead, (mask, time) in enumerate(zip(masks, times[batch.in_len :], strict=True)):
        ahead = int((time - times[batch.in_len - 1]).astype(int))
        tiles = [(f"truth +{ahead} min, {str(time)[11:]} UTC", levels[lead], mask)]
        tiles += [(name, pixels[lead], mask) for name, pixels in forecasts.items()]
        drawn = side_by_side(tiles, description.calibration, columns, view)
        pictures.append(Image.fromarray(drawn))
    return pictures


def animate(clips: Clips, block: str, models: Mapping[str, nn.Module], path: Path) -> None:
    """Write the wettest clip of a block, as each forecaster sees it coming, as a GIF."""
    within = np.flatnonzero(clips.blocks == np.datetime64(block, "m"))
    clip = int(within[np.argmax(clips.wet_shares()[within])])
    batch = clips.batch([Draw(clip)])
    forecasts = {name: forecast(model, batch)[0] for name, model in models.items()}
    pictures = animation(batch, forecasts, clips.description)
    write_whole(path, lambda temporary: write_gif(pictures, temporary, FRAME_MS))


def write_gallery(
    parts: Parts,
    reference: str,
    read: Callable[[Sums], Mapping[str, float | None]],
    clips: Clips,
    models: Mapping[str, nn.Module],
    out: Path,
) -> dict[str, Path]:
    """Write all pictures into ``out/pictures``: caption -> file; of ensembles those of their
    probabilities too, with the numbers in ``out/ensembles.json`` (see `diagrams`)."""
    folder, step_minutes = out / "pictures", clips.archive.description.step_minutes
    written = {}
    figures = [
        ("Events over all lead times", "performance.png", performance_diagram(parts)),
        ("Power spectra", "spectra.png", spectra(parts, step_minutes)),
    ]
    whole = {name: pooled(list(blocks.values())) for name, blocks in parts.items()}
    of_ensembles = {
        name: diagrams(sums, step_minutes) for name, sums in whole.items() if "ranks" in sums.values
    }
    if of_ensembles:
        write_json(out / "ensembles.json", of_ensembles)
        figures += [
            ("Reliability of probabilities", "reliability.png", reliability_diagram(of_ensembles)),
            ("Rank histogram", "ranks.png", rank_histogram(of_ensembles)),
        ]
    for caption, name, figure in figures:
        write_whole(folder / name, partial(figure.savefig, format="png", dpi=DPI))
        written[caption] = folder / name
    for which, (leader, block) in best_and_worst(parts, reference, read).items():
        path = folder / f"{which}.gif"
        animate(clips, block, models, path)
        written[f"The {which} episode of {leader} against {reference}: {block}"] = path
    return written
