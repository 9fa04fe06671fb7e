"""What other packages add by entry points: who adds a name, and the object behind it."""

from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple, TypeVar

from nowcast.core.errors import ConfigError

Kind = TypeVar("Kind")


class Added(NamedTuple):
    """An entry point, whichever of Python's own and its backport's classes it came as.

    Args:
        name: that it adds.
        value: ``module:name``.
        group: that it is of.
        package: who adds it, for messages.
    """

    name: str
    value: str
    group: str
    package: str


def added(group: str, own: Collection[str]) -> dict[str, Added]:
    """The entry points of a group by name; nothing is imported.

    Args:
        group: e.g. ``nowcast.tasks``.
        own: names that nowcast has itself.

    Raises:
        ConfigError: two packages add one name, or a package adds one of nowcast's own.
    """
    found: dict[str, Added] = {}
    for point in entry_points(group=group):
        dist = point.dist
        by = "an installed package" if dist is None else f"the package {dist.name}"
        entry = Added(point.name, point.value, group, by)
        if entry.name in own or entry.name in found:
            other = found[entry.name].package if entry.name in found else "nowcast itself"
            raise ConfigError(
                f"{group}: expected each name once, found {entry.name!r} of {entry.package} and "
                f"of {other}; rename the entry point, or uninstall the package"
            )
        found[entry.name] = entry
    return found


def loaded(entry: Added, kind: type[Kind], value: str | None = None) -> Kind:
    """Import what an entry point names.

    Args:
        entry: of `added`.
        kind: what it is to be an instance of.
        value: another ``module:name`` of the same package, to be imported in its place.

    Raises:
        ConfigError: it cannot be imported, or is of another kind.
    """
    value = value or entry.value
    where = f"{entry.group}: {entry.name}, {value} of {entry.package}"
    try:
        found = EntryPoint(entry.name, value, entry.group).load()
    except Exception as error:  # of code that is not ours
        raise ConfigError(
            f"{where}: expected to import it, found {type(error).__name__}: {error}; repair or "
            "uninstall the package"
        ) from error
    if not isinstance(found, kind):
        raise ConfigError(
            f"{where}: expected an instance of {kind.__module__}.{kind.__name__}, found "
            f"{found!r}; repair or uninstall the package"
        )
    return found
