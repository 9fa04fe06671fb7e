"""A run's folder belongs to one config, one code and one data set."""

import json
from pathlib import Path

import pytest

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.settings import RunSettings
from nowcast.core.storage import origin
from nowcast.core.storage.runs import Run

CONFIG = {"task": "toy", "train": {"steps": 5, "workers": 0}, "optim": {"lr": 0.1}}


def test_the_same_config_may_come_back_and_another_may_not(tmp_path: Path):
    run = Run(tmp_path / "run")
    run.claim(CONFIG, "data")
    run.claim(CONFIG, "data")
    changed = CONFIG | {"optim": {"lr": 0.2}, "memel": {"delta": 5}}
    with pytest.raises(ConfigError) as caught:
        run.claim(changed, "data")
    assert "memel None there, {'delta': 5} now; optim.lr 0.1 there, 0.2 now" in str(caught.value)
    assert run.config() == CONFIG


def test_what_does_not_change_the_result_may_differ(tmp_path: Path):
    run = Run(tmp_path / "run")
    there = CONFIG | {"train": {"steps": 5, "workers": 4}, "data": {"root": "/there"}}
    for config in (CONFIG | {"data": {"root": "/here"}}, there):
        run.claim(config, "data", incidental=RunSettings.incidental)
    with pytest.raises(ConfigError, match=r"data.root .*; train.workers 0 there, 4 now"):
        run.claim(there, "data")


def test_other_data_is_refused(tmp_path: Path):
    run = Run(tmp_path / "run")
    run.claim(CONFIG, "before")
    with pytest.raises(ConfigError, match="its hash is after now and was before then"):
        run.claim(CONFIG, "after")


def test_other_code_is_refused_unless_accepted_and_then_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = Run(tmp_path / "run")
    run.claim(CONFIG, "data")
    key = run.origin()["key"]
    monkeypatch.setattr(origin, "code_hash", lambda: "changed")
    with pytest.raises(ConfigError, match=r"by other code.*train\.accept_code=true"):
        run.claim(CONFIG, "data")
    run.claim(CONFIG, "data", accept_code=True)
    run.claim(CONFIG, "data")  # accepted once is accepted
    assert run.origin()["joined_by"] == ["changed"]
    assert run.origin()["key"] == key


def test_a_run_whose_code_was_hashed_by_the_old_rule_says_so(tmp_path: Path):
    """Runs of 2026-11-29 and before: their hash was of every byte, comments and all."""
    run = Run(tmp_path / "run")
    run.claim(CONFIG, "data")
    old = {key: value for key, value in run.origin().items() if key != "code_of"}
    run.origin_file.write_text(json.dumps(old | {"code": "0123456789ab"}))
    with pytest.raises(ConfigError, match=r"by another rule \(bytes, now syntax\).*accept_code"):
        run.claim(CONFIG, "data")
    run.claim(CONFIG, "data", accept_code=True)
    run.claim(CONFIG, "data")
    assert run.origin()["code_of"] == "bytes"
    assert run.origin()["joined_by"] == [origin.code_hash()]


def test_the_key_tells_config_code_data_and_parent_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def key(name: str, config=CONFIG, data="data") -> str:
        Run(tmp_path / name).claim(config, data, incidental=RunSettings.incidental)
        return Run(tmp_path / name).origin()["key"]

    first, again = key("first"), key("again")
    other = CONFIG | {"optim": {"lr": 0.2}}
    keys = {key("lr", other), key("data", data="more")}
    keys.add(key("child", CONFIG | {"start_from": str(tmp_path / "first")}))
    keys.add(key("twin", CONFIG | {"start_from": str(tmp_path / "again")}))  # an equal parent
    keys.add(key("other child", CONFIG | {"start_from": str(tmp_path / "lr")}))
    monkeypatch.setattr(origin, "code_hash", lambda: "changed")
    keys.add(key("code"))
    assert first == again
    assert len(keys | {first}) == 6


def test_another_parent_in_the_same_place_is_refused(tmp_path: Path):
    parent, child = Run(tmp_path / "parent"), Run(tmp_path / "child")
    parent.claim(CONFIG, "data")
    child.claim(CONFIG | {"start_from": str(parent.folder)}, "data")
    for file in parent.folder.iterdir():
        file.unlink()
    parent.claim(CONFIG | {"optim": {"lr": 3.0}}, "data")
    with pytest.raises(ConfigError, match="starts from another run"):
        child.claim(CONFIG | {"start_from": str(parent.folder)}, "data")


def test_a_run_of_a_newer_format_is_refused_with_the_reason(tmp_path: Path):
    run = Run(tmp_path / "run")
    run.claim(CONFIG, "data")
    run.origin_file.write_text(json.dumps(run.origin() | {"format": 99, "version": "9.9"}))
    for use in (run.config, lambda: run.claim(CONFIG, "data")):
        with pytest.raises(ConfigError, match=r"by nowcast 9\.9 in format 99.*Update nowcast"):
            use()


def test_a_claim_that_was_killed_is_taken_up(tmp_path: Path):
    run = Run(tmp_path / "run")
    run.claim(CONFIG, "data")
    run.config_file.rename(run.folder / ".config.yaml.123.tmp")
    run.claim(CONFIG, "data")
    assert run.config() == CONFIG


def test_one_process_trains_a_run_and_clears_what_a_kill_left(tmp_path: Path):
    run = Run(tmp_path / "run")
    run.claim(CONFIG, "data")
    (run.folder / ".last.pt.4711.tmp").write_bytes(b"half")
    with run.alone():
        assert not list(run.folder.glob(".*.tmp"))
        with pytest.raises(RunError, match="another process is training it"), run.alone():
            pass
    with run.alone():
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="holds files that are no run"):
        Run(tmp_path).claim(CONFIG, "data")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_no_run_folder_says_so(tmp_path: Path):
    with pytest.raises(ConfigError, match="expected a run folder"):
        Run(tmp_path / "nowhere").config()


@pytest.mark.parametrize(
    "tail", [b'{"step": 3, "lo', b"\0\0\0\0\n", b'\xff\xfe{"step": 3}\n{"step": 4}\n']
)
def test_a_history_ends_before_a_line_that_is_not_whole(tmp_path: Path, tail: bytes):
    run = Run(tmp_path)
    assert run.history() == []
    run.history_file.write_bytes(b'{"step": 1}\n{"step": 2}\n' + tail)
    assert run.history() == [{"step": 1}, {"step": 2}]
