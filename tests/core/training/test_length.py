"""Steps and epochs say the same length."""

import pytest
from pydantic import ValidationError

from nowcast.core.settings import RunSettings, TrainSettings
from nowcast.core.training.length import Length, length
from tests.core.toy import SAMPLES, ToyTask

TASK = ToyTask(RunSettings(task="toy"))


def test_epochs_become_steps_and_one_begun_is_finished():
    assert SAMPLES == 37
    train = TrainSettings(epochs=3, batch_size=10, validate_every=None)
    assert length(train, TASK) == Length(steps=12, validate_every=4)
    assert length(TrainSettings(epochs=0.5, batch_size=10), TASK).steps == 2


def test_steps_stay_what_they_are():
    assert length(TrainSettings(steps=7, validate_every=3), TASK) == Length(7, 3)
    found = length(TrainSettings(steps=7, validate_every=3), TASK)
    assert [step for step in range(1, 8) if found.is_validated(step)] == [3, 6, 7]
    assert found.validations == 3


def test_a_config_says_one_of_them():
    assert TrainSettings().steps == 20_000
    assert TrainSettings(epochs=2).steps is None
    again = TrainSettings.model_validate(TrainSettings(epochs=2).model_dump())
    assert again.epochs == 2 and again.steps is None
    for both in ({"steps": 5, "epochs": 2}, {"steps": None}):
        with pytest.raises(ValidationError, match="steps or epochs"):
            TrainSettings.model_validate(both)
