"""What an ensemble scores on the archives of a release, beside STEPS and lagged flow; its card.

``python -m scripts.release.members ARCHIVES SPLIT OUT RUN BEFORE [CLIPS]`` scores it, and the
weights that it was trained from, on the days of a split, one file of scores an archive, and goes on
where it stopped.
"""

import json
import math
import sys
from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from nowcast.core.scoring.interval import t_interval
from nowcast.core.storage.files import write_text, write_whole
from nowcast.core.storage.runs import Run
from nowcast.precipitation.forecasting.released.weights import CARD, FOLDER
from nowcast.precipitation.forecasting.trained import settings_of_run, trained_forecaster
from nowcast.precipitation.pictures.ensembles import Diagrams, reliability_diagram
from scripts.release.pieces import insert, table, template, windows
from scripts.release.recipe import ALL, MEMBERS
from scripts.release.scores import Scored, read, score

STEPS = "steps"
BESIDE = (STEPS, "lagged-flow")
CRPS = ("crps_mm_h", "crps_pixel")
RATES = ("0.5", "2", "5", "10")  # mm/h
NAMES = {"crps_mm_h": "CRPS in mm/h", "crps_pixel": "CRPS in pixel units"}
CALIBRATION = {  # score -> its title
    "coverage/90": "coverage of 90 %",
    "spread_skill_mm_h": "spread / skill, mm/h",
    "spread_skill_pixel": "spread / skill, pixel units",
    "member_spectrum/4": "power at 4 to 8 px",
    **{f"reliability_gap/{rate}": f"reliability at {rate} mm/h" for rate in RATES},
}
WANTED = {
    "coverage/90": (0.86, 0.94),
    "spread_skill_mm_h": (0.9, 1.1),
    "spread_skill_pixel": (0.9, 1.1),
    "member_spectrum/4": (0.8, 1.2),
    **{f"reliability_gap/{rate}": (0.0, 0.05) for rate in RATES},
}
KEPT = (
    *CRPS,
    *("brier", "roc_area", "reliability_gap", "spread_skill_mm_h", "spread_skill_pixel"),
    *("coverage", "member_spectrum", "ensemble_fss", "csi_matched", "bias"),
)
SCORES = Path("scores/members")  # of a release
PAGE, PICTURE = Path("docs/probabilities.md"), "reliability.png"
DPI = 80
CLIPS = 4  # of an archive of large frames: STEPS takes a minute for each


def ratio(one: Scored, unit: str) -> float:
    """Its CRPS over that of STEPS."""
    return float(one.of(MEMBERS)[unit]) / float(one.of(STEPS)[unit])


def over_blocks(scored: list[Scored], unit: str) -> tuple[float, float, float, int]:
    """Geometric mean of the ratio over all blocks with rain, its 95 % interval (Student's t of the
    logarithm), and how many blocks."""
    logs = np.array(
        [
            math.log(mine / other)
            for one in scored
            for mine, other in zip(
                *(one.of(name)[f"{unit}_by_block"].values() for name in (MEMBERS, STEPS)),
                strict=True,
            )
            if mine and other
        ]
    )
    if len(logs) < 2:
        return math.exp(float(logs.mean())), math.nan, math.nan, len(logs)
    middle, low, high = map(math.exp, t_interval(logs))
    return middle, low, high, len(logs)


def over_all_blocks(scored: list[Scored]) -> str:
    """The same of both units, in words."""
    found = ((unit, over_blocks(scored, unit)) for unit in CRPS)
    return "; ".join(
        f"{NAMES[unit]} {middle:.3f} ({low:.3f} to {high:.3f}, {count} blocks)"
        for unit, (middle, low, high, count) in found
    )


def lines(scored: list[Scored]) -> Iterator[str]:
    """A table for people."""
    for one in scored:
        ratios = "  ".join(f"{unit} {ratio(one, unit):.3f}" for unit in CRPS)
        mine, steps = (one.of(name) for name in (MEMBERS, STEPS))
        pairs = "  ".join(
            f"{name} {_shown(mine[name])} ({_shown(steps[name])})" for name in CALIBRATION
        )
        yield f"{one.source.name}: {ratios}  {pairs}"
    for unit in CRPS:
        middle, low, high, count = over_blocks(scored, unit)
        yield f"{unit}: {middle:.3f} ({low:.3f} to {high:.3f}) over {count} blocks"


def crps(scored: list[Scored], short: bool = False) -> str:
    """A row an archive, by its title or by a short name."""
    rows = [
        [
            _short(one) if short else one.title,
            one.document["facts"]["clips"],
            one.document["facts"]["blocks"],
            *(f"{float(one.of(name)[CRPS[0]]):.3f}" for name in (MEMBERS, *BESIDE)),
            *(f"{ratio(one, unit):.3f}" for unit in CRPS),
        ]
        for one in scored
    ]
    header = ["archive", "clips", "blocks", "CRPS, mm/h", "STEPS", "lagged", "ratio"]
    return table([*header, "ratio, pixel units"], rows)


def calibration(scored: list[Scored]) -> str:
    """A row an archive: this, and STEPS in brackets."""
    rows = [
        [
            _short(one),
            *(
                f"{_shown(one.of(MEMBERS)[name], 2)} ({_shown(one.of(STEPS)[name], 2)})"
                for name in CALIBRATION
            ),
        ]
        for one in scored
    ]
    return table(["archive", *CALIBRATION.values()], rows)


def limits(scored: list[Scored]) -> list[str]:
    """What missed what was asked, and by how much."""
    found = []
    for unit in CRPS:
        above = [
            f"{ratio(one, unit):.2f} on {_short(one)}" for one in scored if ratio(one, unit) > 1
        ]
        if above:
            found.append(f"{NAMES[unit]} above STEPS': {'; '.join(above)}.")
    for name, (low, high) in WANTED.items():
        off = [
            f"{value:.2f} on {_short(one)}"
            for one in scored
            if (value := one.of(MEMBERS)[name]) is not None and not low <= value <= high
        ]
        if off:
            title = CALIBRATION[name][0].upper() + CALIBRATION[name][1:]
            found.append(f"{title} outside {low:g} to {high:g}: {'; '.join(off)}.")
    return found


def card(out: Path) -> str:
    """The card of the ensemble, from its run and scores."""
    run = Run(out / "release" / "runs" / MEMBERS / "seed0")
    config, scored = run.config(), read(out / SCORES)
    model = trained_forecaster(run, settings_of_run(run), 10)
    singles = [one.error(MEMBERS) / one.error(ALL) for one in scored]
    text: str = template("members.md.jinja").render(
        name=MEMBERS,
        parameters=f"{sum(weight.numel() for weight in model.parameters()):,}",
        steps=f"{config['train']['steps']:,}",
        rate=f"{config['optim']['lr']:g}",
        windows=windows(config["data"]["windows"], config["train"]["batch_size"]),
        count=config["loss"]["members"],
        crps=crps(scored),
        blocks=over_all_blocks(scored),
        calibration=calibration(scored),
        single=f"{min(singles):.3f} to {max(singles):.3f}, mean {np.mean(singles):.3f}",
        limits=limits(scored),
        date=date.today().isoformat(),
        machine=scored[0].document["facts"]["machine"],
        **{"from": ALL},
    )
    return text


def pooled(scores: Path) -> Diagrams:
    """The reliability of this and of STEPS over all archives' pixels."""
    boards = [
        json.loads((scores / "boards" / one.source.name / "ensembles.json").read_text())
        for one in read(scores)
    ]
    found = {}
    for name in (MEMBERS, STEPS):
        by_threshold = {}
        for threshold, first in boards[0][name]["reliability"].items():
            each = [board[name]["reliability"][threshold] for board in boards]
            cases = np.array([of["cases"] for of in each])
            rates = np.array([of["observed"] for of in each], float)  # NaN where there is no case
            events = np.nansum(cases * rates, 0)
            total = cases.sum(0)
            by_threshold[threshold] = {
                "probability": first["probability"],
                "cases": total.tolist(),
                "observed": np.divide(
                    events, total, out=np.full(len(total), np.nan), where=total > 0
                ).tolist(),
            }
        found[name] = {"reliability": by_threshold}
    return found


def section(scored: list[Scored]) -> str:
    """What the page of probabilities says of how well they are calibrated."""
    blocks = over_all_blocks(scored)
    return "\n\n".join(
        [
            f"Test days of radar (card: `released/{MEMBERS}/README.md`), 24 members beside 24 of "
            "pysteps' STEPS; a ratio below 1 is better:",
            crps(scored, short=True),
            f"Geometric mean of the ratio over blocks of at most 6 hours (95 %): {blocks}.",
            "In brackets STEPS:",
            calibration(scored),
            f"![Reliability over all these archives]({PICTURE})",
            "What is not as it should be:",
            "\n".join(f"- {limit}" for limit in limits(scored)),
        ]
    )


def write(out: Path) -> None:
    """The card, and the page's section with its picture."""
    write_text(FOLDER / MEMBERS / CARD, card(out))
    drawn = reliability_diagram(pooled(out / SCORES))
    write_whole(PAGE.parent / PICTURE, partial(drawn.savefig, format="png", dpi=DPI))
    insert(PAGE, section(read(out / SCORES)), "calibration")


def _short(one: Scored) -> str:
    """A radar's name; of several archives of one the place too."""
    place = one.source.name.partition("_r")[2] if one.source.radar == "MRMS" else ""
    return f"{one.source.radar} r{place}" if place else one.source.radar


def _shown(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def main(archives: Path, split: str, out: Path, run: str, before: str, clips: int = CLIPS) -> None:
    """Score, and print the table."""
    weights = {MEMBERS: run, ALL: before}
    score(weights, archives, split, out, clips=clips, beside=BESIDE, kept=KEPT)
    sys.stdout.write("\n".join(lines(read(out))) + "\n")


if __name__ == "__main__":
    archives, split, out, run, before = sys.argv[1:6]
    clips = int(sys.argv[6]) if sys.argv[6:] else CLIPS
    main(Path(archives), split, Path(out), run, before, clips)
