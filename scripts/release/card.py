"""The model cards of the weights that ship, from their runs and scores.

``python -m scripts.release.card OUT`` writes the card of each of the weights, and what README and
the page of results say of them, from what ``scripts/train_release.sh`` has left in OUT.
"""

import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.storage.files import write_text
from nowcast.core.storage.runs import Run
from nowcast.precipitation.archive.days import days_path, read_days
from nowcast.precipitation.clips.trained_on import stated_by
from nowcast.precipitation.forecasting.released.weights import CARD, FOLDER
from nowcast.precipitation.forecasting.trained import settings_of_run, trained_forecaster
from nowcast.precipitation.loss import AREA_MM_H
from scripts.release import members, memel, scores
from scripts.release.pieces import insert, table, template, windows
from scripts.release.recipe import (
    ALL,
    DAYS,
    FIRST,
    HALVES,
    MEMBERS,
    ONE_IN,
    OPEN,
    SECOND_STEPS,
    STEPS,
    WITHOUT,
)
from scripts.release.scores import UNLEARNED, Scored, by_radar, over_blocks
from scripts.release.sources import SOURCES, Source

NAMES = (ALL, OPEN)
WHAT = {
    ALL: "The forecaster of `nowcast forecast` without `--weights`.",
    OPEN: "As `comoving-memel`, of radar whose terms are verified and free alone.",
}
LICENCE = {
    ALL: "TAASRAD19's, DPC's and the archived MeteoSwiss files' terms are not verified; "
    f"`{OPEN}` was trained without them.",
    OPEN: "All of them are open data.",
}
MATCHED = ("5", "10", "30")
BIASES = ("0.5", "2", "5", "10", "30")
WANTED_RATIO, WANTED_BIAS, FINE_POWER = 1.0, (0.8, 1.25), 0.5
SURE = 0.05
NOT_MEASURED = "Not measured."


def errors(scored: list[Scored], name: str) -> str:
    """A row an archive: errors, ratio and CSI."""
    others = [other for other in NAMES if other != name]
    matched = [f"CSI {threshold}" for threshold in MATCHED]
    rows = [
        [
            one.title,
            one.document["facts"]["clips"],
            one.document["facts"]["blocks"],
            *(f"{one.error(column):.0f}" for column in (name, *others, *reversed(UNLEARNED))),
            f"{one.ratio(name):.3f}",
            *(_pair(one, name, f"csi_matched/{threshold}") for threshold in MATCHED),
        ]
        for one in scored
    ]
    columns = ["this", *(f"`{other}`" for other in others), *_titles(reversed(UNLEARNED))]
    return table(["archive", "clips", "blocks", *columns, "ratio", *matched], rows)


def biases(scored: list[Scored], name: str) -> str:
    """A row an archive: frequency bias, this and optical flow."""
    rows = [[one.title, *(_pair(one, name, f"bias/{t}", 2) for t in BIASES)] for one in scored]
    return table(["archive, this / flow", *(f"{t} mm/h" for t in BIASES)], rows)


def without(out: Path, name: str) -> str:
    """A row a radar: by weights that have not seen it, and by those that ship."""
    rows = []
    for folder in sorted((out / "scores").glob(f"{WITHOUT}*")):
        found = scores.read(folder)
        if found:
            (blind,) = by_radar(found, folder.name).values()
            (seen,) = by_radar(found, name).values()
            rows.append([found[0].source.radar, f"{blind:.3f}", f"{seen:.3f}"])
    if not rows:
        return NOT_MEASURED
    mean = [f"{np.mean([float(row[at]) for row in rows]):.3f}" for at in (1, 2)]
    return table(["radar", "not seen", f"`{name}`"], [*rows, ["mean", *mean]])


def more_days(out: Path) -> str:
    """A row a number of days."""
    found = scores.read(out / "scores" / "valid")
    rows = []
    for one_in in ONE_IN:
        scored = [f"{DAYS}{one_in}" in one.document["forecasters"] for one in found]
        if not scored or not all(scored):
            return NOT_MEASURED
        ratios = by_radar(found, f"{DAYS}{one_in}")
        run = Run(out / "release" / "runs" / f"{DAYS}{one_in}" / "seed0")
        days = sum(_days(entry) for entry in run.config()["data"]["sources"])
        rows.append([f"one in {one_in}", days, f"{_mean(ratios):.3f}"])
    return table(["days", "of all archives", "ratio"], rows)


def in_words(effects: dict[str, memel.Effect] | None) -> str:
    """What MEmeL in pretraining does on radar that training has not seen; None where that was not
    measured."""
    if effects is None:
        return NOT_MEASURED
    both = effects["both"]
    shown = (
        f"by {both.mean:+.2f} % (95 % interval over {both.seeds} seeds {both.low:+.2f} to "
        f"{both.high:+.2f}; below 0 is better; paired t-test, p = {both.p:.2f})"
    )
    if both.p >= SURE:
        verdict = "No effect can be told"
    else:
        verdict = "It helps" if both.mean < 0 else "It harms"
    halves = "; ".join(
        f"{', '.join(HALVES[half])} {of.mean:+.2f} ({of.low:+.2f} to {of.high:+.2f})"
        for half, of in effects.items()
        if half != "both"
    )
    return (
        f"{verdict}. Small trainings (`memel.yaml` of the recipe) with and without MEmeL in "
        "pretraining, each fine-tuned without it on half of the radars and scored on the others, "
        f"which it has not seen: MEmeL moves B-MSE + B-MAE {shown}. By radars trained on: {halves}."
    )


def limits(test: list[Scored], long: list[Scored], name: str) -> list[str]:
    """What missed, and by how much."""
    found = []
    for kind, scored in (("", test), (" at 5 -> 20", long)):
        above = [f"{one.title}: {one.ratio(name):.3f}" for one in scored if one.ratio(name) > 1]
        if above:
            found.append(f"Worse than the best that learns nothing{kind}: {'; '.join(above)}.")
    worse = [
        f"{threshold} mm/h on {one.title}"
        for one in test
        for threshold in MATCHED
        if _less(one, name, f"csi_matched/{threshold}")
    ]
    if worse:
        found.append(f"CSI after bias matching below optical flow's: {'; '.join(worse)}.")
    low, high = WANTED_BIAS
    off = [
        f"{one.of(name)[f'bias/{t}']:.2f} at {t} mm/h on {one.title}"
        for one in test
        for t in BIASES[:-1]
        if (bias := one.of(name)[f"bias/{t}"]) is not None and not low <= bias <= high
    ]
    if off:
        found.append(f"Frequency bias outside {low} to {high}: {'; '.join(off)}.")
    powers = [one.of(name)["spectrum/4"] for one in test]
    found.append(
        f"It blurs: {min(powers):.2f} to {max(powers):.2f} of the truth's power at wavelengths of "
        "4 to 8 pixels on the test archives."
    )
    found.append(
        "New rain far from any it does not foresee. Members and probabilities are those of "
        f"[`{MEMBERS}`](../{MEMBERS}/README.md)."
    )
    found.append(
        "Radars, climates and seasons are few, and most of them are a day or less: see the table "
        "of the data. Rain is frozen, tropical or blocked by mountains in few of them."
    )
    return found


def summary(out: Path, whole: bool) -> str:
    """What README (in short) and the page of results say of the weights."""
    test, long = (
        scores.read(out / "scores" / "test"),
        scores.read(out / "scores" / "test-5-20", (5, 20)),
    )
    middle, low, high, count = over_blocks(test, ALL)
    shown = ("sprog", "flow", "persistence")
    rows = [
        [
            one.title,
            one.document["facts"]["clips"],
            *(f"{one.error(name):.0f}" for name in (ALL, *shown)),
            f"{one.ratio(ALL):.2f}",
        ]
        for one in test
    ]
    text = table(["test archive", "clips", "nowcast", *_titles(shown), "ratio"], rows)
    radars = by_radar(test, ALL)
    text += (
        f"\n\nMean ratio over the {len(radars)} radars {_mean(radars):.2f}; over {count} blocks of "
        f"at most 6 hours the geometric mean is {middle:.2f} (95 % interval {low:.2f} to "
        f"{high:.2f})."
    )
    if whole:
        known = test[0].document["facts"]
        text = f"{known['date']}, {known['machine']}.\n\n{text}"
        text += (
            f" `{OPEN}`: {_mean(by_radar(test, OPEN)):.2f}.\n\n5 frames in, 20 out, mean ratio "
            f"{_mean(by_radar(long, ALL)):.2f}. On radar that training has not seen, trainings of "
            f"{STEPS[WITHOUT] + SECOND_STEPS[WITHOUT]:,} steps without one radar at a time:\n\n"
            f"{without(out, ALL)}\n\n"
            f"With fewer days:\n\n{more_days(out)}\n\n{in_words(memel.read(out / 'scores'))}"
        )
    return text


def _mean(ratios: dict[str, float]) -> float:
    return float(np.mean(list(ratios.values())))


def card(out: Path, name: str) -> str:
    """The card of one of the weights."""
    run = Run(out / "release" / "runs" / name / "seed0")
    runs = out / "release" / "runs"
    before, first = (Run(runs / name_of / "seed0") for name_of in ("P-MEmeL", FIRST + name))
    config, seen = run.config(), stated_by(run)
    assert seen is not None and seen.pixel_km is not None
    model = trained_forecaster(run, settings_of_run(run), 10)
    test = scores.read(out / "scores" / "test")
    long = scores.read(out / "scores" / "test-5-20", (5, 20))
    middle, low, high, count = over_blocks(test, name)
    radars, long_radars = by_radar(test, name), by_radar(long, name)
    augment, train = config["data"]["augment"], config["train"]
    entries = {Path(entry["lists"]).name: entry for entry in config["data"]["sources"]}
    trained = [source for source in SOURCES if source.name in entries]
    tiles = [source for source in trained if source.radar == "MRMS"]
    shown = [source for source in trained if source not in tiles[1:]]  # they differ in place alone
    text: str = template("card.md.jinja").render(
        name=name,
        what=WHAT[name],
        licence=LICENCE[name],
        parameters=f"{sum(weight.numel() for weight in model.parameters()):,}",
        steps_minutes=f"{seen.steps_minutes[0]} to {seen.steps_minutes[-1]}",
        pixels=f"{seen.pixel_km[0]:.2g} to {seen.pixel_km[1]:.2g}",
        data=[_row(source, entries[source.name]) for source in shown],
        tiles=len(tiles),
        pretraining_steps=before.config()["train"]["steps"],
        parts=[_part(each.config()) for each in (first, run)],
        precision=train["precision"],
        windows=windows(config["data"]["windows"], train["batch_size"]),
        coarsest=max(max(window["coarsen"]) for window in config["data"]["windows"]),
        fastest=max(max(entry["speeds"]) for entry in entries.values()),
        factor=f"{augment['rate_factor']:g}",
        bias_at=", ".join(f"{rate:g}" for rate in AREA_MM_H),
        areas=config["loss"]["areas"],
        **{key: f"{100 * augment[key]:g}" for key in ("reverse", "outage", "untold")},
        test=errors(test, name),
        radars=len(radars),
        mean=f"{_mean(radars):.3f}",
        blocks={
            "count": count,
            **{key: f"{v:.3f}" for key, v in (("middle", middle), ("low", low), ("high", high))},
        },
        long=errors(long, name),
        long_radars=len(long_radars),
        long_mean=f"{_mean(long_radars):.3f}",
        bias=biases(test, name),
        without_steps=f"{STEPS[WITHOUT]:,} and {SECOND_STEPS[WITHOUT]:,}",
        without=without(out, name),
        days_steps=STEPS[DAYS],
        days=more_days(out),
        memel=in_words(memel.read(out / "scores")),
        limits=limits(test, long, name),
        date=date.today().isoformat(),
        machine=test[0].document["facts"]["machine"],
        each=f"about {_seconds_a_step(run):.2f} s a step",
    )
    return text


def _part(config: dict[str, Any]) -> dict[str, str]:
    """What is told of one part of a training."""
    data = config["data"]
    return {
        "steps": f"{config['train']['steps']:,}",
        "rate": f"{config['optim']['lr']:g}",
        "look": f"{100 * data['augment']['look']:g}",
        "wet": f"{100 * data['min_wet']:g}",
    }


def _row(source: Source, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "radar": source.radar,
        "about": source.about,
        "days": _days(entry),
        "public": source.public,
        "terms": source.terms,
        "made": source.made,
    }


def _days(entry: dict[str, Any]) -> int:
    """How many days an entry of ``data.sources`` trains on."""
    return len(read_days(days_path(Path(entry["lists"]), "train")))


def _seconds_a_step(run: Run) -> float:
    """Of a run that was not interrupted: what is resumed counts its last sitting alone."""
    return float(run.result()["seconds"]) / int(run.config()["train"]["steps"])


def _pair(one: Scored, name: str, score: str, digits: int = 3) -> str:
    values = [one.of(which)[score] for which in (name, "flow")]
    return " / ".join("–" if value is None else f"{value:.{digits}f}" for value in values)


def _less(one: Scored, name: str, score: str) -> bool:
    mine, flow = one.of(name)[score], one.of("flow")[score]
    return mine is not None and flow is not None and mine < flow


def _titles(names: Iterable[str]) -> list[str]:
    titles = {"sprog": "S-PROG", "extrapolation": "LK"}
    return [titles.get(name, name) for name in names]


if __name__ == "__main__":
    results = Path(sys.argv[1])
    for name in NAMES:
        write_text(FOLDER / name / CARD, card(results, name))
    if (results / members.SCORES).is_dir():
        members.write(results)
    for page, whole in (("README.md", False), ("docs/results.md", True)):
        insert(Path(page), summary(results, whole))
