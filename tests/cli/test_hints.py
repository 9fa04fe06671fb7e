"""A name that is nearly right is answered with the right one, wherever a run or a word is given."""

import shutil
from pathlib import Path

import pytest

from tests import ROOT
from tests.tiny_runs import write_run

SMOKE = ROOT / "configs" / "precipitation" / "smoke.yaml"


@pytest.fixture
def seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two seeds' runs, as a comparison has; the current folder is above it."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "T-MEmeL" / "seed0")
    shutil.copytree("T-MEmeL/seed0", "T-MEmeL/seed1")
    return Path("T-MEmeL")


COMMANDS = [
    ("evaluate", "{run}", "--data", "{data}"),
    ("forecast", "{data}", "--weights", "{run}", "--out", "out"),
    ("export", "{run}", "out.pt2"),
    ("audit", "neurons", "{run}", "--features", "by_day"),
    ("train", str(SMOKE), "start_from={run}", "data.root={data}", "--run", "new"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("spelled", ["T-MEmeL", "T-MEmel"])
def test_a_run_that_is_nearly_named_is_offered(
    run, synthetic: Path, seeds: Path, command: tuple[str, ...], spelled: str
):
    status, _, err = run(*(part.format(run=spelled, data=synthetic) for part in command))
    assert status == 2
    assert f"did you mean {seeds}/seed0" in err.replace(f"{Path.cwd()}/", "")
    assert not Path("new").exists()


def test_a_bare_name_is_looked_for_in_runs(run, synthetic: Path, seeds: Path):
    shutil.copytree(seeds / "seed0", "runs/first")
    for spelled in ("first", "frist"):
        status, _, err = run("evaluate", spelled, "--data", synthetic)
        assert status == 2 and "did you mean runs/first?" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate", "nosuch"), "comoving-memel, comoving-open"),
        (("evaluate", "nosuch"), "persistence, flow"),
        (("evaluate", "comoving-memle"), "did you mean comoving-memel"),
        (("evaluate", "persistance"), "did you mean persistence?"),
        (("evaluate", "persistence", "data.out_lne=3"), "did you mean data.out_len"),
    ],
)
def test_unknown_forecasters_are_answered_with_those_there_are(
    run, synthetic: Path, arguments: tuple[str, ...], said: str
):
    status, _, err = run(*arguments, "--data", synthetic)
    assert status == 2 and said in err


def test_files_tasks_sections_and_variants_too(run, synthetic: Path, tmp_path: Path):
    def err(*arguments: object) -> str:
        status, _, text = run(*arguments)
        assert status == 2
        return str(text)

    out = ("--out", tmp_path / "out")
    assert f"did you mean {SMOKE}?" in err("train", SMOKE.with_name("smok.yaml"), "--run", "x")
    assert "did you mean precipitation?" in err("train", SMOKE, "task=precipitaion", "--run", "x")
    config = tmp_path / "c.yaml"
    config.write_text("comapre:\n  variants: {A: {}}\n")
    assert "did you mean comapre?" in err("compare", config, *out)
    config.write_text("compare:\n  variants: {Original: {}, MEmeL: {start_from: Orginal}}\n")
    assert "did you mean Original?" in err("compare", config, *out)
    config.write_text("compare:\n  variants: {Original: {}, MEmeL: {memell: 1}}\n")
    assert "compare.variants" not in err("compare", config, *out)
    config.write_text(
        "task: glue\ncompare:\n  variants: {Original: {}, MEmeL: {set: {optim.lr: true}}}\n"
    )
    assert "variant MEmeL: " in err("compare", config, *out)
    config.write_text("compare:\n  variants: {Original: {}, MEmeL: {}}\n")
    assert "did you mean MEmeL?" in err("compare", config, *out, "--only", "Memel")
