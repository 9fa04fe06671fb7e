"""Configs: all that is wrong is told at once, with its path; what is right comes through whole."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from nowcast.api import config
from nowcast.core.errors import ConfigError
from nowcast.core.settings import CompareSettings, TuneSettings
from nowcast.core.storage.runs import Run
from nowcast.core.storage.yaml_files import loads
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.registry import TASKS, settings_class


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


@pytest.mark.parametrize("argument", ["train.steps", "=5", ".x=5", "train.=5", "data.crop=[1,"])
def test_an_override_that_is_none_is_named(argument: str):
    with pytest.raises(ConfigError, match=r"expected key=value|not valid YAML"):
        config.parse_overrides([argument])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train.steps=7", "train.steps=20"], "train.steps: given twice"),
        (["train.steps=7", "train={seed: 1}"], "train: would replace train.steps"),
        (["train={seed: 1, seed: 2}"], "train: .*the key seed is given twice"),
        (["data.root=/rain #2"], "data.root: '#2' .* would be a comment"),
    ],
)
def test_overrides_follow_the_rules_of_a_file(arguments: list[str], said: str):
    with pytest.raises(ConfigError, match=said):
        config.parse_overrides(arguments)
    assert config.parse_overrides(["train={seed: 1}", "train.steps=7", "data.root='/rain #2'"])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("steps: yes", r"train.steps \(line 2, column 10\): .* valid integer \(found 'yes'\)"),
        ("steps: true", r"train.steps \(line 2, column 10\): .* valid integer \(found True\)"),
        ("steps: 7.5", r"train.steps .* valid integer \(found 7.5\)"),
        ("steps: 100.0", r"train.steps .* valid integer \(found 100.0\)"),
        ("steps: '7'", r"train.steps .*; as a number: 7, without quotes"),
        ("steps: 1:30", r"train.steps .* valid integer \(found '1:30'\)"),
        ("steps: .inf", r"train.steps .* valid integer \(found inf\)"),
        ("explosion_factor: .nan", r"train.explosion_factor .* finite number"),
        ("explosion_factor: true", r"train.explosion_factor .* valid number \(found True\)"),
        ("keep_state: 1", r"train.keep_state .* valid boolean \(found 1\)"),
        ("keep_state: 'no'", r"train.keep_state .*; write true or false, without quotes"),
        ("seed: 7\n  seed: 8", r"line 3, column 3: the key seed is given twice"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_line(tmp_path: Path, value: str, said: str):
    file = tmp_path / "c.yaml"
    file.write_text(f"train:\n  {value}\n")
    with pytest.raises(ConfigError, match=said):
        config.validate(PrecipitationSettings, config.read(file), str(file))


@pytest.mark.parametrize("task", list(TASKS))
def test_every_number_of_every_task_refuses_booleans_and_text(task: str):
    def check(model: type[BaseModel], keys: tuple[str, ...]) -> None:
        for name, field in model.model_fields.items():
            value = field.get_default(call_default_factory=True)
            if isinstance(value, BaseModel):
                check(type(value), (*keys, name))
            if isinstance(value, bool):
                wrong: tuple[object, ...] = (1, 0, "true", "yes")
            elif isinstance(value, int | float):
                wrong = (True, str(value), float("nan"), float("inf"))
            else:
                continue
            for found in wrong:
                content: object = found
                for key in reversed((*keys, name)):
                    content = {key: content}
                with pytest.raises(ConfigError, match=rf"{name}(\.bool)?: Input should be a"):
                    config.validate(settings_class(task), {"task": task} | content, "c")
            checked.append(name)

    checked: list[str] = []
    check(settings_class(task), ())
    assert len(checked) > 20


@pytest.mark.parametrize(
    ("model", "content"),
    [
        (TuneSettings, {"trials": True}),
        (TuneSettings, {"seed": "1"}),
        (TuneSettings, {"space": {"optim.lr": {"low": "1e-4", "high": 1}}}),
        (CompareSettings, {"variants": {"A": {}}, "seeds": [True]}),
        (CompareSettings, {"variants": {"A": {"scored": 1}}}),
        (CompareSettings, {"variants": {"A": {"set": {"optim.lr": 1, "optim": {}}}}}),
    ],
)
def test_so_do_comparisons_and_searches(model: type[BaseModel], content: dict):
    with pytest.raises(ConfigError, match="to mend") as caught:
        config.validate(model, content, "c.yaml")
    assert "at least 1 item" not in str(caught.value)  # which a list of wrong ones would lack


def test_a_number_spelled_in_two_ways_is_one_choice():
    with pytest.raises(ConfigError, match=r"space.optim.lr: expected each once"):
        config.validate(TuneSettings, loads("space: {optim.lr: [1e-4, 0.0001]}"), "c.yaml")


def test_lists_of_a_file_are_what_they_were():
    content = loads(
        "{data: {crop: [0, 120, 0, 120]}, optim: {betas: [0, 0.5]}, memel: {sites: [a]}}"
    )
    settings = resolve(content)
    assert settings.data.crop == (0, 120, 0, 120) and settings.optim.betas == (0.0, 0.5)
    assert settings.memel is not None and settings.memel.sites == ("a",)


def test_an_overridden_value_has_no_line_of_the_file():
    content = loads("train:\n  steps: 5\n  seed: -1\n")
    with pytest.raises(ConfigError) as caught:
        resolve(config.overridden(content, {"train.steps": True}))
    assert "train.steps: Input should be a valid integer (found True)" in str(caught.value)
    assert "train.seed (line 3, column 9): Input should be" in str(caught.value)
    assert content["train"].values_at["steps"] == (2, 10)  # a copy was changed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {lr: 1}", "train.lr .*: unknown key; did you mean optim.lr or online.lr?"),
        ("train: {stesp: 1}", "train.stesp .*: unknown key; did you mean train.steps?"),
        ("trian: {steps: 1}", "trian .*: unknown key; did you mean train?"),
        ("crop: paper", "crop .*: unknown key; did you mean data.crop?"),
        ("compares: {}", "compares .*: unknown key; did you mean compare?"),
        ("train.steps: 5", "train.steps .*; in a file, write `steps` in the section `train`"),
        ("loss: {zzz: 5}", "loss.zzz .*: unknown key; expected one of relative"),
        ("model: {comoving: {haed: 5}}", "unknown key; did you mean model.comoving.head?"),
        ("optim: {name: Adamm}", "found 'Adamm'.; did you mean adam or adamw?"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest(text: str, said: str):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        resolve(loads(text))


def test_stored_configs_that_pyyaml_wrote_are_read_as_they_were(tmp_path: Path):
    (tmp_path / "config.yaml").write_text(
        "task: precipitation\ndata:\n  root: /data/2015-07-09\n  lists: null\n  lengths:\n"
        "  - - 10\n    - 10\noptim:\n  eps: 1.0e-08\n  lr: 0.0001\n  betas:\n  - 0.9\n  - 0.999\n"
        "memel:\n  sites:\n  - 'on'\n  - '010'\n  - '2015-07-09'\ntrain:\n  keep_state: true\n"
    )
    assert Run(tmp_path).config() == {
        "task": "precipitation",
        "data": {"root": "/data/2015-07-09", "lists": None, "lengths": [[10, 10]]},
        "optim": {"eps": 1e-8, "lr": 1e-4, "betas": [0.9, 0.999]},
        "memel": {"sites": ["on", "010", "2015-07-09"]},
        "train": {"keep_state": True},
    }


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "- 1\n", "a: [\n"])
def test_a_damaged_stored_config_is_named(tmp_path: Path, text: str):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml: damaged"):
        Run(tmp_path).config()


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
    with pytest.raises(ConfigError, match=r"expected one of .*, found \['glue'\]"):
        settings_class(["glue"])


def test_memel_cannot_act_on_other_frames_than_it_learned_from():
    content = {"task": "precipitation", "memel": {"in_eval": True}}
    data = {"crop": [0, 120, 0, 120], "random_crop": [90, 90]}
    with pytest.raises(ConfigError, match=r"random_crop makes 90x90.* cut both with data\.crop"):
        config.validate(PrecipitationSettings, content | {"data": data}, "c.yaml")
    for fits in ({"crop": [0, 120, 0, 120]}, data | {"random_crop": [120, 120]}):
        config.validate(PrecipitationSettings, content | {"data": fits}, "c.yaml")
