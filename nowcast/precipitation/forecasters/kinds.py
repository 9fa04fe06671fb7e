"""The forecasters that a config can name: `model.kind` chooses one of these settings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from pydantic import ValidationError, WrapValidator
from pydantic_core import InitErrorDetails

from nowcast.core.errors import ConfigError, did_you_mean
from nowcast.core.system.plugins import Added, added, loaded
from nowcast.precipitation.forecasters.comoving.ensemble import ComovingEnsembleSettings
from nowcast.precipitation.forecasters.comoving.forecaster import ComovingSettings
from nowcast.precipitation.forecasters.encoder_forecaster import CELLS, EncoderForecasterSettings
from nowcast.precipitation.forecasters.lagrangian import LagrangianSettings
from nowcast.precipitation.forecasters.settings import ForecasterSettings

GROUP = "nowcast.forecasters"  # of entry points: a package's own kinds
OWN = (EncoderForecasterSettings, LagrangianSettings, ComovingSettings, ComovingEnsembleSettings)


def _kinds(settings: type[ForecasterSettings]) -> tuple[str, ...]:
    """The values of a class's `kind`."""
    return get_args(settings.model_fields["kind"].annotation)


def _by_kind() -> dict[str, type[ForecasterSettings]]:
    own = {kind: settings for settings in OWN for kind in _kinds(settings)}
    return own | {name: _added(entry) for name, entry in added(GROUP, own).items()}


def _added(entry: Added) -> type[ForecasterSettings]:
    settings: type[ForecasterSettings] = loaded(entry, type)
    if not issubclass(settings, ForecasterSettings) or _kinds(settings) != (entry.name,):
        raise ConfigError(
            f"{GROUP}: {entry.name} of {entry.package}: expected a class derived from "
            f"{ForecasterSettings.__module__}.ForecasterSettings with "
            f'kind: Literal["{entry.name}"] = "{entry.name}", found {settings!r}; repair or '
            "uninstall the package"
        )
    return settings


KINDS = _by_kind()
"""Value of `model.kind` -> the settings of that forecaster."""


def _chosen(found: object, _: object, info: Any) -> ForecasterSettings:
    if isinstance(found, ForecasterSettings):
        return found
    if not isinstance(found, Mapping):
        raise ValueError(f"expected a section, e.g. kind: convgru, found {found!r}")
    config, inside = _with_kind(found)
    kind = config["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(
            f"kind: expected one of {', '.join(KINDS)}, found {kind!r}{did_you_mean(kind, KINDS)}"
        )
    settings = KINDS[kind]
    for key in config.keys() - settings.model_fields.keys():
        others = [name for name, other in KINDS.items() if key in other.model_fields]
        if others:
            raise ValueError(
                f"{key}: belongs to kind {', '.join(others)}; kind {kind} has "
                f"{', '.join(settings.model_fields)}"
            )
    try:
        # Not by pydantic's own choice, whose errors would name the kind as if it were a key.
        return settings.model_validate(config, context=info.context)
    except ValidationError as error:
        raise _located(error, inside) from error


def _with_kind(found: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """A `model` section with its kind, as configs before version 0.2 say it too: ``cell``,
    ``lagrangian: true`` or ``comoving: {...}``; and which keys stood in the section `comoving`."""
    config = dict(found)
    inside: frozenset[str] = frozenset()
    widths = config.pop("comoving", None)
    flag = config.pop("lagrangian", None)
    if flag is not None and not isinstance(flag, bool):
        raise ValueError(f"lagrangian: expected true or false, found {flag!r}")
    if widths is not None:
        if not isinstance(widths, Mapping):
            raise ValueError(f"comoving: expected its widths, e.g. {{}}, found {widths!r}")
        own = {"kind", *LagrangianSettings.model_fields}
        rest = {key: value for key, value in config.items() if key not in own}
        return {**rest, **widths, "kind": "comoving"}, frozenset(widths)
    kind = config.pop("kind", None)
    if flag is True and kind != "lagrangian":
        config.setdefault("cell", kind or "convgru")
        kind = "lagrangian"
    elif flag is False and kind == "lagrangian":
        kind = None
    if kind != "lagrangian" and "cell" in config:
        kind = config.pop("cell")
        if kind not in CELLS:
            raise ValueError(
                f"cell: expected one of {', '.join(CELLS)}, found {kind!r}"
                f"{did_you_mean(kind, CELLS)}"
            )
    return {"kind": kind or "convgru", **config}, inside


def _located(error: ValidationError, inside: frozenset[str]) -> ValidationError:
    """The error, with keys where the config has them."""
    details = [
        InitErrorDetails(
            type=part["type"],
            loc=("comoving", *part["loc"]) if inside.intersection(part["loc"][:1]) else part["loc"],
            input=part["input"],
            ctx=part.get("ctx", {}),
        )
        for part in error.errors()
    ]
    return ValidationError.from_exception_data(error.title, details)


if TYPE_CHECKING:
    ModelSettings = ForecasterSettings
else:
    # `_chosen` chooses; the union says what there is, for schemas and to write a config.
    ModelSettings = Annotated[
        Union[tuple(dict.fromkeys(KINDS.values()))],  # noqa: UP007
        WrapValidator(_chosen),
    ]
