"""`model.kind` chooses a forecaster; what configs said before there were kinds means the same."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from nowcast.api import config
from nowcast.core.errors import ConfigError
from nowcast.core.storage.runs import Run
from nowcast.precipitation.forecasters.comoving.ensemble import ComovingEnsembleSettings
from nowcast.precipitation.forecasters.comoving.forecaster import ComovingSettings
from nowcast.precipitation.forecasters.encoder_forecaster import EncoderForecasterSettings
from nowcast.precipitation.forecasters.kinds import KINDS
from nowcast.precipitation.forecasters.lagrangian import LagrangianSettings
from nowcast.precipitation.forecasting.released.weights import MEMBERS, located, shipped
from nowcast.precipitation.settings import PrecipitationSettings

STAGE = {"channels": 2, "hidden": 4, "kernel": 3, "down": [3, 2, 1], "up": [4, 2, 1]}
WIDTHS = {"stem": 2, "hidden": [3, 4], "guide": 5, "head": 6}


def resolved(model: dict[str, Any], **changes: object) -> PrecipitationSettings:
    content = config.overridden({"model": model}, changes)
    return config.validate(PrecipitationSettings, content, "c.yaml")


def test_each_kind_is_written_and_read_again():
    networks = ["convgru", "trajgru", "convlstm", "lagrangian", "comoving", "comoving-ensemble"]
    assert list(KINDS) == networks
    for kind, settings in KINDS.items():
        found = resolved({"kind": kind})
        assert type(found.model) is settings and found.model.kind == kind
        stored = json.loads(found.model_dump_json())
        assert PrecipitationSettings.model_validate(stored) == found


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"kind": "convgru"}),
        ({"cell": "trajgru", "lagrangian": False, "comoving": None}, {"kind": "trajgru"}),
        ({"cell": "convlstm", "lagrangian": True}, {"kind": "lagrangian", "cell": "convlstm"}),
        (
            {"stages": [STAGE], "cell": "convgru", "lagrangian": True, "comoving": WIDTHS},
            {"kind": "comoving", **WIDTHS},
        ),
        ({"kind": "trajgru", "lagrangian": True}, {"kind": "lagrangian", "cell": "trajgru"}),
        ({"kind": "trajgru", "cell": "convlstm"}, {"kind": "convlstm"}),
        (
            {"kind": "lagrangian", "cell": "convlstm", "lagrangian": False},
            {"kind": "convlstm"},
        ),
    ],
)
def test_configs_from_before_kinds_mean_the_same(before: dict[str, Any], now: dict[str, Any]):
    assert resolved(before) == resolved(now)


def test_dotted_overrides_from_before_kinds_mean_the_same():
    stages = {"stages": [STAGE]}
    assert resolved(stages, **{"model.cell": "trajgru"}) == resolved(stages | {"kind": "trajgru"})
    both = {"model.lagrangian": True, "model.cell": "convlstm"}
    assert type(resolved(stages, **both).model) is LagrangianSettings
    assert resolved(stages, **{"model.comoving": {}}).model == ComovingSettings()
    assert resolved(stages, **{"model.comoving.head": 5}).model == ComovingSettings(head=5)


def test_released_weights_are_comoving_as_their_configs_say():
    for name in shipped():
        settings = PrecipitationSettings.model_validate(
            located(name).config(), context={"evaluating": True}
        )
        kind = ComovingEnsembleSettings if name == MEMBERS else ComovingSettings
        assert settings.model == kind()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"kind": "convgr"}, "kind: expected one of convgru, .* did you mean convgru"),
        ({"cell": "convgr"}, "cell: expected one of convgru, .* did you mean convgru"),
        ({"lagrangian": 1}, "lagrangian: expected true or false, found 1"),
        ({"comoving": 3}, "comoving: expected its widths"),
        ({"comoving": {"head": "6"}}, r"model\.comoving\.head: .*integer"),
        ({"comoving": {"haed": 6}}, r"model\.comoving\.haed: .*did you mean model\.comoving\.head"),
        ({"comoving": {}, "stage": 6}, r"model\.stage: unknown key"),
        ({"kind": "comoving", "haed": 6}, r"model\.haed: unknown key; did you mean model\.head"),
        (
            {"kind": "comoving", "stages": [STAGE]},
            "stages: belongs to kind convgru, .*has kind, st",
        ),
        ({"kind": "trajgru", "head": 6}, "head: belongs to kind comoving"),
        ({"cel": "trajgru"}, r"model\.cel: unknown key; did you mean model\.cell"),
        ({"stages": [STAGE | {"kernel": 4}]}, r"model\.stages\.0: kernel: expected an odd side"),
    ],
)
def test_a_wrong_key_or_value_is_said_with_what_is_meant(model: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        resolved(model)


def test_a_section_is_needed():
    with pytest.raises(ValidationError, match="expected a section"):
        PrecipitationSettings.model_validate({"model": 5})


def test_a_run_folder_from_before_kinds_is_the_same_run(tmp_path: Any):
    settings = resolved({"kind": "lagrangian", "cell": "trajgru", "stages": [STAGE]})
    now = settings.model_dump(mode="json")
    model = {"cell": "trajgru", "lagrangian": True, "comoving": None, "stages": [STAGE]}
    before = now | {"model": model | {"activate_convolutions": True}}
    run = Run(tmp_path / "run")
    run.claim(before, "data")
    run.claim(now, "data", as_now=settings.as_now)
    other = resolved({"kind": "trajgru", "stages": [STAGE]})
    with pytest.raises(ConfigError, match=r"differing: model\.cell .*; model\.kind 'lagrangian'"):
        run.claim(other.model_dump(mode="json"), "data", as_now=other.as_now)


def test_the_default_is_the_papers():
    model = PrecipitationSettings().model
    assert isinstance(model, EncoderForecasterSettings) and model.multiple == 30
