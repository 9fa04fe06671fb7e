"""What a comparison leaves is enough to write its page again, and is shown as it is."""

import csv
import json
from pathlib import Path

import pytest

from nowcast.core.comparison.compare import compare
from nowcast.core.comparison.results import FILMS, report
from nowcast.core.errors import ConfigError
from nowcast.core.report.player import read_films
from nowcast.core.system.distributed import Ranks
from tests.core.comparison.test_compare import VARIANTS, comparison, resolve
from tests.core.toy import ToyTask


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compared")
    compare(comparison(), resolve, ToyTask, out, Ranks())
    return out


def test_the_first_seed_of_every_variant_and_the_baselines_are_on_film(compared: Path):
    (film,) = read_films(compared / FILMS)
    assert film.forecasters == ["identity", "P-Original", "P-MEmeL", "T-MEmeL"]
    # A baseline that answers x where the truth is 2x, and models that learned something else.
    assert len({view.png for view in film.views}) >= 3


def test_configs_and_versions_are_stored(compared: Path):
    content = json.loads((compared / "scores.json").read_text())
    assert list(content["configs"]) == ["P-Original", "P-MEmeL", "T-MEmeL"]
    assert content["configs"]["P-MEmeL"]["memel"]["late_start"] == 2
    assert content["configs"]["P-Original"]["memel"] is None
    assert "python" in content["versions"]


def test_the_page_is_the_same_from_what_is_stored(compared: Path):
    before = (compared / "report.html").read_bytes()
    (compared / "report.html").unlink()
    report(compared)
    assert (compared / "report.html").read_bytes() == before


def test_results_of_before_there_were_equivalence_bounds_make_their_page(
    compared: Path, tmp_path: Path
):
    content = json.loads((compared / "scores.json").read_text())
    assert content.pop("equivalence") is None
    (tmp_path / "scores.json").write_text(json.dumps(content))
    (tmp_path / FILMS).write_bytes((compared / FILMS).read_bytes())
    report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "No equivalence bound is set" in page
    assert (tmp_path / "verdicts.csv").read_text() == (compared / "verdicts.csv").read_text()


def test_verdicts_come_first_and_sentences_are_folded(tmp_path: Path):
    settings = comparison(seeds=[0, 1, 2], variants={"A": {}, "B": {}}, equivalence=5)
    compare(settings, resolve, ToyTask, tmp_path, Ranks())
    page = (tmp_path / "report.html").read_text()
    order = ["<h2>Verdicts", "<svg", "In words</summary>", "B against A</h3>", "<h2>Scores"]
    assert sorted(order, key=page.index) == order
    # The same config, so nothing differs.
    lines = (tmp_path / "verdicts.csv").read_text().splitlines()
    said = {row["variant"]: row for row in csv.DictReader(lines)}
    assert (said["B"]["against"], said["B"]["verdict"]) == ("A", "no effect")
    assert (said["B"]["difference"], said["B"]["seeds"]) == ("0.0", "3")
    assert {path.name for path in (tmp_path / "figures").glob("effects.*")} == {
        *("effects.svg", "effects.pdf")
    }


def test_origins_are_shown_for_runs_that_have_one(compared: Path):
    runs = [compared / "runs" / name / "seed0" for name in ("P-Original", "T-MEmeL")]
    page = (compared / "report.html").read_text()
    keys = [json.loads((run / "origin.json").read_text())["key"] for run in runs]
    assert all(key in page for key in keys)
    kept = (runs[1] / "origin.json").rename(compared / "kept.json")
    report(compared)
    page = (compared / "report.html").read_text()
    kept.rename(runs[1] / "origin.json")
    assert keys[0] in page and keys[1] not in page


def test_a_run_scored_with_other_settings_is_drawn_as_such_wherever_runs_lie(tmp_path: Path):
    variants = {"M": VARIANTS["P-MEmeL"]}
    variants |= {"M-eval": {"run_of": "M", "set": {"memel": {"late_start": 2, "in_eval": True}}}}
    settings = comparison(seeds=[0], variants=variants)
    out = tmp_path / "out"
    compare(settings, resolve, ToyTask, out, Ranks(), runs=tmp_path / "shared")
    page = (out / "report.html").read_text()
    assert "scored with other settings, run of M" in page
    assert "training loss" in page  # from the history in the shared folder
    (film,) = read_films(out / FILMS)
    assert film.forecasters == ["identity", "M", "M-eval"]


class SamplesOfItsOwn(ToyTask):
    """A variant with another rate is scored on other samples, as its facts say."""

    def facts(self, split: str) -> dict:
        return super().facts(split) | {"cut": self.settings.optim.lr}


def test_only_what_forecasts_the_same_samples_is_on_film(tmp_path: Path):
    variants = {"A": {"set": {"optim": {"lr": 0.5}}}, "B": {}}
    settings = comparison(seeds=[0], variants=variants)
    compare(settings, resolve, SamplesOfItsOwn, tmp_path, Ranks())
    (film,) = read_films(tmp_path / FILMS)
    assert film.forecasters == ["identity", "B"]


@pytest.mark.parametrize("spoil", ["missing", "not JSON", "of something else"])
def test_films_that_cannot_be_read_say_what_to_do(compared: Path, tmp_path: Path, spoil: str):
    (tmp_path / "scores.json").write_bytes((compared / "scores.json").read_bytes())
    if spoil != "missing":
        (tmp_path / FILMS).write_text("[" if spoil == "not JSON" else '[{"views": []}]')
    with pytest.raises(
        ConfigError, match=r"expected scores.json of a comparison and films.json.* run it"
    ):
        report(tmp_path)
