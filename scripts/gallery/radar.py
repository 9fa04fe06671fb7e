"""Pages on forecasts of radar: against optical flow, verified, and through pysteps."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.pictures.gallery import FRAME_MS, animation
from nowcast.precipitation.pictures.reel import forecast
from nowcast.precipitation.pictures.render import side_by_side, write_gif
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask
from scripts.gallery.page import Page

FIRST = np.datetime64("2018-05-20T00:15")  # of the clip that is shown: ten frames before 01:00
SHOWN = (1, 5, 9)  # lead times of a strip
PYSTEPS = """\
import numpy as np
import pysteps
from pathlib import Path
from nowcast.precipitation.sources.stack.zarr_archive import open_archive
from nowcast.pysteps import register
from pysteps.verification.detcatscores import det_cat_fct

register()  # puts ours among the nowcasts of pysteps
archive = open_archive(Path("data/dwd"))
start = int(np.searchsorted(archive.moments, np.datetime64("2018-05-20T00:15")))
start = min(start, len(archive.moments) - 20)
rate = archive.calibration.rate_from_pixel  # mm/h
rain = np.stack(
    [
        np.where(archive.mask(time), rate(archive.frame(time) / 255), np.nan)
        for time in archive.moments[start : start + 20]
    ]
)
observed, truth = rain[:10], rain[10:]
decibels, _ = pysteps.utils.transformation.dB_transform(
    np.nan_to_num(observed), threshold=0.1, zerovalue=-15.0
)
velocity = pysteps.motion.get_method("LK")(decibels[-3:])
forecasts = {
    "nowcast": pysteps.nowcasts.get_method("nowcast")(
        observed, velocity, 10, timestep=5, kmperpixel=1.0
    ),
    "extrapolation": pysteps.nowcasts.get_method("extrapolation")(observed[-1], velocity, 10),
}
csi = {
    name: [det_cat_fct(made, true, 1.0, scores="CSI")["CSI"] for made, true in zip(frames, truth)]
    for name, frames in forecasts.items()
}
"""


FRONT = {  # what the front page calls them
    "comoving-memel": "nowcast, shipped weights",
    "sprog": "S-PROG",
    "flow": "optical flow",
    "persistence": "persistence",
}


def _clip(archive: Path) -> tuple[PrecipitationTask, RadarBatch]:
    settings = PrecipitationSettings.model_validate({"data": {"root": str(archive), "stride": 1}})
    task = PrecipitationTask(settings)
    clips = task.clips("test")
    return task, clips.batch([Draw(int(np.searchsorted(clips.starts, FIRST)))])


def front(archive: Path, path: Path) -> None:
    """The animation of README and front page: one clip of DWD's sample, as each sees it coming."""
    task, batch = _clip(archive)
    made = {title: forecast(task.baseline(name), batch)[0] for name, title in FRONT.items()}
    write_gif(animation(batch, made, task.archive.description), path, FRAME_MS)


def flow(page: Page) -> None:
    """One clip by the shipped weights, optical flow and persistence."""
    task, batch = _clip(page.work / "data" / "dwd")
    page.text(
        "Optical flow carries the last frame along; it neither grows nor fades rain. The "
        "weights that come with nowcast start "
        "from the same motion and learn what becomes of the rain on its way, at the price of "
        "sharpness."
    )
    page.command("nowcast forecast data/dwd --at 2018-05-20T01:00 --out forecast/network")
    page.command(
        "nowcast forecast data/dwd --at 2018-05-20T01:00 --weights flow --out forecast/flow"
    )
    models = {name: task.baseline(name) for name in ("comoving-memel", "flow", "persistence")}
    truth, mask = batch.truth[0, :, 0].numpy(), batch.truth_mask[0, :, 0].numpy()
    minutes = task.archive.description.step_minutes
    made = {"truth": truth, **{name: forecast(model, batch)[0] for name, model in models.items()}}
    tiles = [
        (f"{name} +{(lead + 1) * minutes} min", frames[lead], mask[lead])
        for name, frames in made.items()
        for lead in SHOWN
    ]
    page.picture(
        "Rain 10, 30 and 50 minutes after 01:00 UTC, 20 May 2018",
        side_by_side(tiles, task.archive.calibration, columns=len(SHOWN)),
    )
    names = {"b_mse": "B-MSE ↓", "b_mae": "B-MAE ↓", "csi/0.5": "CSI ≥ 0.5 ↑", "csi/5": "CSI ≥ 5 ↑"}
    table = []
    with torch.no_grad():
        for name, model in models.items():
            scores = task.read(task.score(model.eval(), batch)).values
            table.append(
                [f"`{name}`", *(f"{scores[key] or 0:.{0 if 'b_' in key else 3}f}" for key in names)]
            )
    page.text("Scores of this one [clip](../glossary.md#clip), which is no evidence of anything:")
    page.table(["", *names.values()], table)
    page.text(
        "How they compare over many clips: [a verification](verification.md), "
        "[results](../results.md)."
    )


def verification(page: Page) -> None:
    """A leaderboard on the test days."""
    page.text(
        "Three forecasters on the same clips, with intervals over "
        "[blocks](../glossary.md#block) of weather."
    )
    said = page.command(
        "nowcast evaluate comoving-memel flow --data data/dwd --out runs/board data.stride=48"
    )
    board = page.work / "runs" / "board"
    rows = [
        row for row in (board / "leaderboard.md").read_text("utf-8").splitlines() if row[:1] == "|"
    ]
    end = next(
        (n for n, row in enumerate(rows) if n and row.count("|") != rows[0].count("|")), len(rows)
    )
    page.text("\n".join(rows[:end]))
    verdicts = [line for line in said.splitlines() if "not distinguishable" in line]
    page.text("What the command says about it:\n\n```text\n" + "\n".join(verdicts) + "\n```")
    page.picture(
        "Performance diagram: hits against false alarms, all lead times",
        board / "pictures/performance.png",
    )
    page.picture("Power spectra: a curve below the truth's is blur", board / "pictures/spectra.png")
    page.text(
        "`runs/board/leaderboard.html` has all of it on one page. [What the verdicts "
        "mean](../verification.md)."
    )


def through_pysteps(page: Page) -> None:
    """Our weights as a nowcast method of pysteps, beside its own extrapolation."""
    page.text(
        "The shipped weights as a method of pysteps, verified with its own tools. `pip "
        "install -e '.[pysteps]'`."
    )
    csi = page.code(PYSTEPS)["csi"]
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="minutes", ylabel="CSI ≥ 1 mm/h", ylim=(0, 1))
    for name, values in csi.items():
        axes.plot(np.arange(1, len(values) + 1) * 5, values, label=name, marker=".")
    axes.legend()
    page.picture("CSI of one clip by lead time, by pysteps' own verification", figure)
    page.text("[All that the method takes](../operate.md#from-pysteps).")
