"""What is wrong with the day lists of an archive, and between its splits."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.days import SPLITS, Split, days_path, read_days
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.preparation.doctor.findings import Finding, printable, relative

LISTED_DAY = re.compile(r"^\s*(\d{8})\b", re.ASCII | re.MULTILINE)

# Whose times stay where the same frame lies in two splits: a test set changes last.
KEPT: tuple[Split, ...] = ("test", "valid", "train")


def read_lists(root: Path, lists: Path) -> tuple[dict[Split, list[str]], list[Finding]]:
    """The days of each split, as far as they can be made out, and what is wrong with the lists."""
    days: dict[Split, list[str]] = {}
    findings: list[Finding] = []
    absent: list[Finding] = []
    for split in SPLITS:
        path = days_path(lists, split)
        try:
            days[split] = sorted(read_days(path))
        except ConfigError:
            detail = "no list of days; all three splits need one"
            absent.append(Finding("bad day list", relative(path, root), detail))
        except DataError as error:
            detail = printable(str(error).removeprefix(f"{path}"))
            findings.append(Finding("bad day list", relative(path, root), detail.lstrip(":, ")))
            days[split] = _made_out(path)
    if not days:
        detail = f"no day lists; make them with `nowcast data days {printable(str(root))}`"
        return {}, [Finding("no day lists", relative(lists, root), detail)]
    return days, absent + findings


def _made_out(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace") if path.is_file() else ""
    except OSError:
        return []
    return sorted({day for day in LISTED_DAY.findall(text) if _datetime(day) is not None})


def _datetime(day: str) -> np.datetime64 | None:
    try:
        return np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "D")
    except ValueError:
        return None


def list_findings(
    days: Mapping[Split, list[str]],
    moments: Moments,
    wet: Bool[np.ndarray, " frame"],
    wet_mm_h: float,
) -> Iterator[Finding]:
    """Days in two splits, beside a day of another split, without frames or without rain.

    Args:
        days: of `read_lists`.
        moments: all of the archive, ascending.
        wet: whether each has rain.
        wet_mm_h: the rate in mm/h from which on it is rain.
    """
    of_frame = moments.astype("datetime64[D]")
    there = set(of_frame.tolist())
    rainy = set(of_frame[wet].tolist())
    splits: dict[str, list[Split]] = {}
    for split in days:
        for day in days[split]:
            splits.setdefault(day, []).append(split)
    for day in sorted(splits):
        if len(splits[day]) > 1:
            detail = f"in the lists of {' and '.join(splits[day])}; a day belongs to one"
            yield Finding("day in two splits", day, detail)
        date = _datetime(day)
        assert date is not None
        if date.item() not in there:
            detail = f"in the {splits[day][0]} list, without a frame"
            yield Finding("listed day without frames", day, detail)
        elif date.item() not in rainy:
            detail = (
                f"in the {splits[day][0]} list, but no unmasked pixel reaches {wet_mm_h:g} mm/h"
            )
            yield Finding("dry day", day, detail)
        following = str(date + 1).replace("-", "")
        others = set(splits.get(following, [])) - set(splits[day])
        if others:
            detail = (
                f"{splits[day][0]}, and the day after is {sorted(others)[0]}: rain that runs past "
                "midnight is in both; leave one of the two days out"
            )
            yield Finding("neighbours in two splits", day, detail)


def copy_findings(
    days: Mapping[Split, list[str]],
    moments: Moments,
    digests: Int64[np.ndarray, " frame"],
    rainy: Bool[np.ndarray, " frame"],
) -> Iterator[Finding]:
    """Rainy frames whose very copy lies in another split."""
    found, counts = np.unique(digests[rainy], return_counts=True)
    repeated = found[counts > 1]
    if not len(repeated):
        return
    split_of = {day: split for split in KEPT[::-1] for day in days.get(split, [])}
    copies: dict[int, list[np.datetime64]] = {}
    for position in np.flatnonzero(rainy & np.isin(digests, repeated)):
        copies.setdefault(int(digests[position]), []).append(moments[position])
    for same in copies.values():
        splits = [split_of.get(str(moment)[:10].replace("-", "")) for moment in same]
        held = [split for split in KEPT if split in splits]
        if len(held) < 2:
            continue
        kept = same[splits.index(held[0])]
        for moment, split in zip(same, splits, strict=True):
            if split is not None and split != held[0]:
                detail = f"a {split} frame that is also the {held[0]} frame of {kept} UTC"
                yield Finding("copied across splits", str(moment), detail, np.array([moment]))


def frozen_findings(
    moments: Moments,
    digests: Int64[np.ndarray, " frame"],
    wet: Bool[np.ndarray, " frame"],
    step: np.timedelta64,
) -> Iterator[Finding]:
    """Runs of rainy frames that are the frame before, again."""
    if len(moments) < 2:
        return
    again = (np.diff(moments) == step) & (np.diff(digests) == 0) & wet[1:]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], again, [False]])))
    for before, last in edges.reshape(-1, 2):
        detail = f"{last - before} frames in a row, to {moments[last]} UTC, repeat the one before"
        yield Finding("frozen frames", str(moments[before + 1]), detail)
