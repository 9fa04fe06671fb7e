"""What an alarm waits for, as a user writes it: ``NAME,LAT,LON,5mm/h,30min``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.core.storage.yaml_files import YamlError, loads
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasting.probabilities.places import Point, located
from nowcast.precipitation.forecasting.products.result import Forecast

EXPECTED = (
    'expected "NAME,LAT,LON,5mm/h,30min", or px:ROW,COLUMN for LAT,LON, with ",p>=0.4" behind it '
    "for a probability"
)
PROBABILITY = 0.5  # of an alarm that states none
LARGEST_MM_H = 1000.0
RULE = re.compile(
    r"(?P<name>[^,]+),(?P<place>[^,]+,[^,]+),\s*(?P<rate>\d+(?:\.\d+)?)\s*mm/h\s*,"
    r"\s*(?P<within>\d+(?:\.\d+)?)\s*(?P<unit>min|h)\s*(?:,\s*p\s*>=\s*(?P<share>\d(?:\.\d+)?)\s*)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Rule:
    """One alarm.

    Args:
        name: for people, and unlike all others.
        place: ``LAT,LON`` or ``px:ROW,COLUMN``.
        threshold_mm_h: rain rate that matters, above 0.
        within_minutes: only lead times up to this.
        probability: of that rain from which on it matters, in (0, 1]; of a forecast without
            members it is 0 or 1.
    """

    name: str
    place: str
    threshold_mm_h: float
    within_minutes: float
    probability: float = PROBABILITY

    @classmethod
    def read(cls, text: str, option: str = "--alarm") -> "Rule":
        """The rule of a text such as ``Mill,52.10,5.18,5mm/h,30min,p>=0.4``; raises ConfigError."""
        match = RULE.fullmatch(text.strip())
        if match is None:
            raise ConfigError(f"{option}: {EXPECTED}; found {text!r}")
        share = PROBABILITY if match["share"] is None else float(match["share"])
        rate = float(match["rate"])
        minutes = float(match["within"]) * (60 if match["unit"] == "h" else 1)
        if not (0 < rate <= LARGEST_MM_H and minutes > 0 and 0 < share <= 1):
            raise ConfigError(
                f"{option}: expected a rate of up to {LARGEST_MM_H:g} mm/h and a time, both above "
                f"0, and a probability above 0 and up to 1; found {text!r}"
            )
        return cls(match["name"].strip(), match["place"].strip(), rate, minutes, share)


@dataclass(frozen=True)
class Watched:
    """A rule on the grid of an archive.

    Args:
        rule: the alarm.
        point: its pixel.
        leads: how many lead times count.
    """

    rule: Rule
    point: Point
    leads: int

    @classmethod
    def of(cls, rule: Rule, description: Description, out_len: int) -> "Watched":
        """Raises ConfigError for a place outside the frame, or where no lead time counts."""
        point = located(rule.place, description, f"--alarm {rule.name}")
        step = description.step_minutes
        leads = min(int(rule.within_minutes // step), out_len)
        if leads == 0:
            raise ConfigError(
                f"--alarm {rule.name}: expected {step} minutes or more, the first lead time; found "
                f"{rule.within_minutes:g}min"
            )
        return cls(rule, point, leads)

    def rates(self, forecast: Forecast) -> np.ndarray | None:
        """Largest rain rate of each member within the time, mm/h, one of a forecast without
        members; None where the newest frame had no data."""
        row, column = self.point.row, self.point.column
        if not forecast.mask[row, column]:
            return None
        members = forecast.members
        pixels = forecast.pixels[None] if members is None else members.pixels
        largest = pixels[:, : self.leads, row, column].max(axis=1)
        rates: np.ndarray = forecast.description.calibration.rate_from_pixel(largest)
        return rates


def read_rules(texts: Sequence[str], file: Path | None) -> list[Rule]:
    """The rules of the command line and of a YAML file, a list of such texts or of mappings with
    the keys ``name``, ``place``, ``threshold_mm_h``, ``within_minutes`` and ``probability``.

    Raises:
        ConfigError: one cannot be read, or two have one name.
    """
    rules = [Rule.read(text) for text in texts]
    if file is not None:
        rules += [_from_yaml(item, file) for item in _items(file)]
    names = [rule.name for rule in rules]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"--alarm: expected each name once, found {twice} again; rename one")
    return rules


def _items(file: Path) -> list[Any]:
    try:
        found = loads(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"--alarms {file}: cannot be read ({error.strerror})") from error
    except YamlError as error:
        raise ConfigError(f"--alarms {file}: {error}") from error
    if not isinstance(found, list):
        raise ConfigError(f"--alarms {file}: expected a list, found {type(found).__name__}")
    return found


def _from_yaml(item: object, file: Path) -> Rule:
    option = f"--alarms {file}"
    if isinstance(item, str):
        return Rule.read(item, option)
    if not isinstance(item, dict):
        raise ConfigError(f"{option}: {EXPECTED}; found {item!r}")
    given = {"probability": PROBABILITY, **item}
    unlike = set(given) ^ {"name", "place", "threshold_mm_h", "within_minutes", "probability"}
    if unlike:
        raise ConfigError(
            f"{option}: expected name, place, threshold_mm_h, within_minutes and maybe probability "
            f"of an alarm, found {', '.join(item)}"
        )
    text = (
        f"{given['name']},{given['place']},{given['threshold_mm_h']}mm/h,"
        f"{given['within_minutes']}min,p>={given['probability']}"
    )
    return Rule.read(text, option)
