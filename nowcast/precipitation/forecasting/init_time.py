"""The time that a user gives, in UTC or with its offset; the names of zones have no one meaning."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np

from nowcast.core.errors import ConfigError

NAMED = re.compile(r"(?P<time>.*\d)\s*(?P<zone>[A-Za-z][A-Za-z_/+-]*[A-Za-z])\s*")
SEASONS = ((1, 1), (7, 1))  # month and day: the name of a zone may be that of another season


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
