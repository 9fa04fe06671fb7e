"""Configs: all that is wrong is told at once, with its path; what is right comes through whole."""

from pathlib import Path

import pytest

from nowcast import config
from nowcast.core.errors import ConfigError
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.registry import settings_class


def resolve(content: dict, **options) -> PrecipitationSettings:
    return config.validate(PrecipitationSettings, content, "test.yaml", **options)


def test_all_errors_come_at_once_with_their_paths():
    with pytest.raises(ConfigError) as caught:
        resolve(
            {
                "optim": {"lr": -1, "name": "sgd"},
                "train": {"stesp": 3},
                "data": {"crop": [10, 5, 0, 9]},
            }
        )
    said = str(caught.value)
    assert "test.yaml: 4 to mend" in said
    assert "optim.lr: Input should be greater than 0 (found -1)" in said
    assert "optim.name: Input should be 'adam' or 'adamw' (found 'sgd')" in said
    assert "train.stesp: unknown key" in said
    assert "data.crop" in said and "expected [r0, r1, c0, c1] with 0 <= r0 < r1" in said
    assert caught.value.exit_status == 2


def test_strides_must_divide_what_is_trained_on_and_not_what_is_scored():
    wrong = {"data": {"crop": [0, 100, 0, 120]}}
    with pytest.raises(ConfigError, match=r"multiply to 30 and must divide .* found 100x120"):
        resolve(wrong)
    assert resolve(wrong, evaluating=True).data.crop == (0, 100, 0, 120)
    assert resolve(wrong | {"data": {"crop": [0, 100, 0, 120], "random_crop": [90, 90]}})


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"down": [7, 3, 1]}, "must become"),
        ({"up": [5, 5, 1]}, "must undo down"),
        ({"kernel": 4}, "expected an odd side, found 4"),
    ],
)
def test_a_stage_that_does_not_fit_itself_is_named(stage: dict, said: str):
    good = {"channels": 8, "hidden": 8, "kernel": 3, "down": [7, 5, 1], "up": [7, 5, 1]}
    assert resolve({"model": {"stages": [good]}})
    with pytest.raises(ConfigError, match=rf"model.stages.0(.|\n)*{said}"):
        resolve({"model": {"stages": [good | stage]}})


def test_defaults_are_the_papers():
    settings = resolve({})
    assert settings.data.in_len == settings.data.out_len == 10
    assert settings.optim.lr == 1e-4 and settings.optim.decay_every == 5000
    assert settings.optim.clip == "value" and settings.optim.clip_at == 50
    assert settings.train.steps == 20_000 and settings.train.batch_size == 16
    assert settings.model.multiple == 30


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert resolve({"data": {"root": "archive"}}).data.root == tmp_path / "archive"


def test_overrides_are_yaml_and_make_sections():
    parsed = config.parse_overrides(["train.steps=5", "memel.top_k=3", "data.crop=null", "x="])
    assert parsed == {"train.steps": 5, "memel.top_k": 3, "data.crop": None, "x": None}
    content = {"train": {"steps": 9, "seed": 1}, "memel": None}
    changed = config.overridden(content, {"train.steps": 5, "memel.top_k": 3})
    assert changed == {"train": {"steps": 5, "seed": 1}, "memel": {"top_k": 3}}
    assert content == {"train": {"steps": 9, "seed": 1}, "memel": None}


@pytest.mark.parametrize("argument", ["train.steps", "=5", "data.crop=[1,"])
def test_an_override_that_is_none_is_named(argument: str):
    with pytest.raises(ConfigError, match=r"expected key=value|not valid YAML"):
        config.parse_overrides([argument])


def test_an_override_through_a_number_is_an_error():
    with pytest.raises(ConfigError, match="task is 'precipitation', not a section"):
        config.overridden({"task": "precipitation"}, {"task.name": "x"})


def test_unreadable_files_are_named(tmp_path: Path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    for name, said in (("none", "expected a config file"), ("list", "found list"), ("bad", "YAML")):
        with pytest.raises(ConfigError, match=said):
            config.read(tmp_path / f"{name}.yaml")


def test_an_unknown_task_is_named():
    with pytest.raises(
        ConfigError, match="expected one of precipitation, glue, imagenet, found 'weather'"
    ):
        settings_class("weather")


def test_memel_cannot_act_on_other_frames_than_it_learned_from():
    content = {"task": "precipitation", "memel": {"in_eval": True}}
    data = {"crop": [0, 120, 0, 120], "random_crop": [90, 90]}
    with pytest.raises(ConfigError, match=r"random_crop makes 90x90.* cut both with data\.crop"):
        config.validate(PrecipitationSettings, content | {"data": data}, "c.yaml")
    for fits in ({"crop": [0, 120, 0, 120]}, data | {"random_crop": [120, 120]}):
        config.validate(PrecipitationSettings, content | {"data": fits}, "c.yaml")
