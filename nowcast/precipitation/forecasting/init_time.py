"""Times that a user gives: the init time, in UTC or with its offset, and how far ahead of it.

The names of zones have no one meaning.
"""

import re
from datetime import UTC, datetime, timedelta

import numpy as np

from nowcast.core.errors import ConfigError

NAMED = re.compile(r"(?P<time>.*\d)\s*(?P<zone>[A-Za-z][A-Za-z_/+-]*[A-Za-z])\s*")
SEASONS = ((1, 1), (7, 1))  # month and day: the name of a zone may be that of another season
SECONDS = {"s": 1, "min": 60, "h": 3600}
DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)?", re.ASCII)

Lead = str | int | float | timedelta | np.timedelta64
"""How far ahead: ``"60min"``, ``"2h"``, a number of minutes or a difference of times."""


def seconds(option: str, text: str, unit: str) -> float:
    """The seconds that a text such as ``120min``, ``2h`` or ``90`` says.

    Args:
        option: what messages call it.
        text: of the user.
        unit: of a number without one: s, min or h.

    Raises:
        ConfigError: any other text, or no time.
    """
    match = DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ConfigError(
            f"{option}: expected a time above 0 such as 120min, 2h or 90 ({unit} if it says none), "
            f"found {text!r}"
        )
    return float(match[1]) * SECONDS[match[2] or unit]


def lead_minutes(lead: Lead) -> float:
    """How far ahead, in minutes; a text or a number without a unit is minutes.

    Raises:
        ConfigError: it is none of `Lead`, or not above 0.
    """
    minutes: float | None = None
    if isinstance(lead, str):
        return seconds("lead", lead, "min") / 60
    if isinstance(lead, timedelta | np.timedelta64):
        minutes = float(np.timedelta64(lead) / np.timedelta64(1, "m"))
    elif isinstance(lead, int | float | np.number) and not isinstance(lead, bool):
        minutes = float(lead)
    if minutes is None or not 0 < minutes < np.inf:
        raise ConfigError(
            f'lead: expected "60min", "2h", minutes such as 90 or a timedelta, above 0, found '
            f"{lead!r}"
        )
    return minutes


def init_time(text: str) -> np.datetime64:
    """The minute in UTC that a text such as ``2018-05-19T12:00`` or ``2018-05-19 14:00+02:00``
    says; UTC where it says no offset, or ``UTC``.

    Raises:
        ConfigError: any other text; of a named zone it says the offset to write.
    """
    named = NAMED.fullmatch(text)
    zone = named["zone"] if named else ""
    zone = zone if "/" in zone else zone.upper()
    try:
        found = datetime.fromisoformat(
            named["time"].rstrip() if named and zone in ("UTC", "GMT") else text
        )
    except ValueError as error:
        raise ConfigError(
            "--at: expected a time such as 2018-05-19T12:00 (UTC) or 2018-05-19T14:00+02:00, "
            f"found {text!r}{_advice(named['time'].rstrip(), zone) if named else ''}"
        ) from error
    if found.tzinfo is not None:
        found = found.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(found, "m")


def _advice(time: str, zone: str) -> str:
    """What to write for a time in a zone with a name, where the name is known."""
    try:
        local = datetime.fromisoformat(time)
    except ValueError:
        return ""
    offsets = [_written(offset) for offset in sorted(_offsets(local, zone))]
    if not offsets or local.tzinfo is not None:
        return ""
    several = f"{', '.join(offsets[:-1])} or " if offsets[1:] else ""
    stamp = local.isoformat(timespec="minutes")
    which = f"{several}{offsets[-1]}{' by place' if several else ''}"
    return f"; {zone} is {which}: write {'for instance ' * bool(several)}{stamp}{offsets[0]}"


def _offsets(local: datetime, zone: str) -> set[timedelta]:
    """By how much zones of that name are ahead of UTC, by the system's database of zones."""
    from zoneinfo import ZoneInfo, available_timezones

    places = available_timezones()
    if "/" in zone:
        places, times = places & {zone}, [local]
    else:  # CET is a place of that name too, but with summer time, which its letters exclude
        times = [local, *(datetime(local.year, *season) for season in SEASONS)]
    offsets = set()
    for place in places:
        for time in times:
            there = time.replace(tzinfo=ZoneInfo(place))
            offset = there.utcoffset()
            if offset is not None and ("/" in zone or there.tzname() == zone):
                offsets.add(offset)
    return offsets


def _written(offset: timedelta) -> str:
    """``+02:00``."""
    hours, minutes = divmod(round(abs(offset).total_seconds() / 60), 60)
    return f"{'-' if offset < timedelta() else '+'}{hours:02}:{minutes:02}"
