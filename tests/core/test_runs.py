"""A run's folder belongs to one config."""

from pathlib import Path

import pytest

from nowcast.core.errors import ConfigError
from nowcast.core.runs import Run

CONFIG = {"task": "toy", "train": {"steps": 5, "workers": 0}, "optim": {"lr": 0.1}}


def test_the_same_config_may_come_back_and_another_may_not(tmp_path: Path):
    run = Run(tmp_path / "run")
    run.claim(CONFIG)
    run.claim(CONFIG)
    changed = CONFIG | {"optim": {"lr": 0.2}, "memel": {"delta": 5}}
    with pytest.raises(ConfigError) as caught:
        run.claim(changed)
    assert "memel None there, {'delta': 5} now; optim.lr 0.1 there, 0.2 now" in str(caught.value)
    assert run.config() == CONFIG


def test_what_does_not_change_the_result_may_differ(tmp_path: Path):
    run = Run(tmp_path / "run")
    run.claim(CONFIG)
    run.claim(CONFIG | {"train": {"steps": 5, "workers": 4}})


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="holds something that is no run"):
        Run(tmp_path).claim(CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_no_run_folder_says_so(tmp_path: Path):
    with pytest.raises(ConfigError, match="expected a run folder"):
        Run(tmp_path / "nowhere").config()
