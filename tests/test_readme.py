"""The README stays true and short: its commands and its Python run, its table is the demo's."""

import re
from pathlib import Path

import pytest

from nowcast.core.storage.yaml_files import loads
from tests import ROOT
from tests.docs.pages import blocks, commands, run, workspace

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
DEMO = ROOT / "configs" / "precipitation" / "demo.yaml"


def demo_table(page: Path) -> list[list[str]]:
    """The cells of the demo's table on a page, its header first."""
    lines = page.read_text(encoding="utf-8").splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("| forecaster | B-MSE"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip(" *") for cell in line.strip("|").split("|")])
    return rows[:1] + rows[2:]


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 200


def test_the_two_commands_come_first():
    first = blocks(README)[0].text
    assert "bash scripts/demo.sh" in first and "bash scripts/test.sh" in first


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.slow  # a comparison among them
def test_its_commands_run_in_their_order(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    workspace(tmp_path, dwd=synthetic)  # stands for the sample, smaller
    words = [
        words for block in blocks(README) if block.language == "bash" for words in commands(block)
    ]
    ours = [each for each in words if each[0] == "nowcast"]
    assert len(ours) == 8  # a forecast out of the box, and six commands
    for each in ours:
        run(each, monkeypatch)


@pytest.mark.parametrize("code", [b.text for b in blocks(README) if b.language == "python"])
def test_its_python_runs(code: str):
    exec(compile(code, "README.md", "exec"), {})


def test_its_links_and_paths_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)", TEXT)
    paths = re.findall(r"`((?:nowcast|configs|scripts|hko_data|tests)/[\w./*]*)`", TEXT)
    assert links
    for path in {*links, *paths}:
        assert list(ROOT.glob(path)) or (ROOT / path).exists(), path


def test_its_table_is_that_of_the_results_page_and_names_what_the_demo_runs():
    rows = demo_table(README)
    assert rows == demo_table(ROOT / "docs" / "results.md")
    compared = loads(DEMO.read_bytes())["compare"]
    assert [row[0] for row in rows[1:]] == [*compared["baselines"], *compared["variants"]]


@pytest.mark.slow
def test_its_table_is_what_the_demo_gives(run, tmp_path: Path):
    """Baselines to rounding; trained rows to their spread over seeds, since processors round
    otherwise and training amplifies that."""
    status, _, err = run("data", "sample", tmp_path / "dwd")
    assert status == 0, err
    out = tmp_path / "demo"
    status, _, err = run(
        "compare", DEMO, f"data.root={tmp_path / 'dwd'}", "--jobs", 2, "--out", out
    )
    assert status == 0, err
    rows = (out / "table.md").read_text(encoding="utf-8").splitlines()
    made = {
        cells[0]: cells
        for cells in ([c.strip(" *") for c in r.strip("|").split("|")] for r in rows)
    }
    for name, *shown in demo_table(README)[1:]:
        for cell, own in zip(shown, made[name][1:], strict=True):
            mean, _, spread = cell.partition(" ± ")
            unit = 10.0 ** -len(mean.partition(".")[2])
            allowed = max(1.5 * unit, 1.5 * float(spread or 0))
            assert abs(float(own.partition(" ± ")[0]) - float(mean)) <= allowed, (name, cell, own)


def test_it_speaks_of_the_project_alone():
    assert "shared/" not in TEXT
