"""A search tries each setting once, whatever kills come, and selects on validation alone."""

import csv
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import fmean

import pytest
from optuna.trial import TrialState
from pydantic import ValidationError
from torch import Tensor, nn

import nowcast.core.tuning.search as loop
import nowcast.core.tuning.trials as study
from nowcast.core.comparison.compare import compare
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.execution.processes import Processes
from nowcast.core.settings import CompareSettings, RunSettings, TuneSettings
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.signals import Interrupted
from nowcast.core.tuning.search import Search, Searcher
from nowcast.core.tuning.selection import read_selection, search_folder, tried
from nowcast.core.tuning.trials import Trials, label
from nowcast.core.tuning.tune import run_search, tuned
from tests.core.toy import ToyBatch, ToyTask

STEPS, VALIDATE_EVERY = 12, 6
GOOD = [0.05, 0.04, 0.03, 0.02, 0.01]
GRID = {"memel.top_k": [1, 2], "memel.delta": [1, 5, 10]}
PRUNED = {"optim.lr": [*GOOD, 1e-6, 1e-7, 0.06]}


def resolve(changes: Mapping[str, object]) -> RunSettings:
    content: dict = {
        "task": "toy",
        "train": {"steps": STEPS, "validate_every": VALIDATE_EVERY, "batch_size": 8},
        "optim": {"lr": 0.02},
    }
    for dotted, value in changes.items():
        *sections, last = dotted.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {"late_start": 2})
        place[last] = value
    return RunSettings.model_validate(content)


class Watched(ToyTask):
    """Writes down each run that begins or goes on, and shows nobody the test split."""

    pause = 0.0

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        with Path(os.environ["BEGUN"]).open("a") as file:
            file.write(f"{self.settings.optim.lr} {start}\n")
        for batch in super().training_batches(start, ranks):
            time.sleep(self.pause)
            yield batch

    def evaluation_batches(self, split: str, ranks: Ranks) -> Iterator[ToyBatch]:
        assert split == "valid", "a search looked at another split than valid"
        return super().evaluation_batches(split, ranks)


class Slow(Watched):
    pause = 0.004


@pytest.fixture(autouse=True)
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEGUN", str(tmp_path / "begun.txt"))
    monkeypatch.setattr(loop, "POLL_SECONDS", 0.02)
    return tmp_path / "begun.txt"


def search(folder: Path, build=Watched, url: str | None = None, **tune) -> Search:
    settings = TuneSettings.model_validate({"space": GRID, "seed": 0} | tune)
    return Search("Tune", settings, {"train.seed": 0}, resolve, build, folder / "Tune", url)


def outcome(folder: Path) -> list[dict[str, str]]:
    """All about the trials of a search but how long they took."""
    rows = csv.DictReader((folder / "trials.csv").read_text().splitlines())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_grid_is_tried_once_each_and_the_least_validation_objective_selected(
    tmp_path: Path, begun: Path
):
    found = run_search(search(tmp_path, prune=False), Ranks())
    rows = outcome(tmp_path / "Tune")
    points = [(int(row["memel.top_k"]), int(row["memel.delta"])) for row in rows]
    assert points == [(1, 1), (1, 5), (1, 10), (2, 1), (2, 5), (2, 10)]
    assert len(begun.read_text().splitlines()) == 6
    for row in rows:
        run = tmp_path / "Tune" / "trials" / label({key: row[key] for key in GRID})
        history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        errors = {entry["step"]: entry["valid"]["error"] for entry in history if "valid" in entry}
        assert float(row["objective"]) == min(errors.values()) == errors[int(row["best_step"])]
    best = min(rows, key=lambda row: float(row["objective"]))
    assert {key: str(value) for key, value in found.selected.items()} == {k: best[k] for k in GRID}
    assert found.tried == {"complete": 6, "pruned": 0, "failed": 0}
    assert "6 settings tried on valid (6 complete), seed 0" in found.note


def test_a_search_that_is_done_is_only_read(tmp_path: Path, begun: Path):
    first = run_search(search(tmp_path), Ranks())
    (tmp_path / "Tune" / "journal.log").unlink()
    begun.unlink()
    assert run_search(search(tmp_path), Ranks(rank=0, size=2)) == first
    assert not begun.exists()
    assert tried(tmp_path / "Tune") == 6


def test_a_search_can_leave_the_weights_of_its_trials_behind(tmp_path: Path):
    found = run_search(search(tmp_path, space={"train.keep_state": [False, True]}), Ranks())
    kept = {path.parent.name: path.name for path in tmp_path.rglob("best.safetensors")}
    assert list(kept) == [label({"train.keep_state": True})]
    assert found.tried == {"complete": 2, "pruned": 0, "failed": 0}


def test_a_changed_search_is_refused_and_the_differing_keys_are_named(tmp_path: Path):
    run_search(search(tmp_path, space={"memel.delta": [1, 5]}), Ranks())
    with pytest.raises(ConfigError, match=r"tune.space.memel.delta \[1, 5\] there, \[1, 50\] now"):
        run_search(search(tmp_path, space={"memel.delta": [1, 50]}), Ranks())
    (tmp_path / "Tune" / "best.json").unlink()
    with pytest.raises(ConfigError, match=r"tune.prune True there, False now"):
        run_search(search(tmp_path, space={"memel.delta": [1, 5]}, prune=False), Ranks())


def test_pruning_ends_bad_trials_early_and_no_good_ones(tmp_path: Path):
    found = run_search(search(tmp_path, space=PRUNED), Ranks())
    states = {row["optim.lr"]: (row["state"], row["steps"]) for row in found.trials}
    assert {states[lr] for lr in GOOD} == {("complete", STEPS)}
    assert states[1e-6] == states[1e-7] == ("pruned", VALIDATE_EVERY)
    assert states[0.06] == ("complete", STEPS)
    assert "8 settings tried on valid (6 complete, 2 pruned)" in found.note
    unpruned = run_search(search(tmp_path / "all", space=PRUNED, prune=False), Ranks())
    assert unpruned.tried == {"complete": 8, "pruned": 0, "failed": 0}
    assert unpruned.selected == found.selected


def _search(search: Search, begun: Path) -> None:
    study.HEARTBEAT_SECONDS, study.GRACE_SECONDS = 1, 2
    os.environ["BEGUN"] = str(begun)
    run_search(search, Ranks())


@pytest.fixture
def in_process(begun: Path) -> Iterator[Callable[[Search], BaseProcess]]:
    """Begins a search in a process of its own, within milliseconds."""
    context = multiprocessing.get_context("forkserver")
    processes: list[BaseProcess] = []

    def start(search: Search) -> BaseProcess:
        processes.append(context.Process(target=_search, args=(search, begun)))
        processes[-1].start()
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.join()


def lines(folder: Path) -> int:
    """How much the runs of a search have written of their history."""
    return sum(path.read_text().count("\n") for path in folder.glob("trials/*/history.jsonl"))


@pytest.mark.parametrize(
    "database",
    [
        pytest.param(False, id="journal"),
        pytest.param(True, id="database", marks=pytest.mark.slow),
    ],
)
def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(
    tmp_path: Path, in_process, database: bool
):
    run_search(search(tmp_path / "straight", space=PRUNED), Ranks())
    url = f"sqlite:///{tmp_path / 'tune.db'}" if database else None
    killed = search(tmp_path / "killed", Slow, url, space=PRUNED)
    chance, kills = random.Random(0), 0
    while not (killed.folder / "best.json").is_file():
        process = in_process(killed)
        wanted = lines(killed.folder) + chance.choice([0, 2, 4, 6])
        while process.is_alive() and lines(killed.folder) < wanted:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills > 0
    assert outcome(killed.folder) == outcome(tmp_path / "straight" / "Tune")
    assert (
        read_selection(killed.folder).objective
        == read_selection(tmp_path / "straight" / "Tune").objective
    )


@pytest.mark.parametrize(
    "how", ["journal", pytest.param("database", marks=pytest.mark.slow), "machines"]
)
def test_two_commands_share_the_work_and_run_no_setting_twice(
    tmp_path: Path, in_process, begun: Path, how: str
):
    """Two machines share nothing but the database; there, each has a folder of its own."""
    rates = [*GOOD, 0.06]
    url = None if how == "journal" else f"sqlite:///{tmp_path / 'tune.db'}"
    folders = [tmp_path / "one", tmp_path / ("two" if how == "machines" else "one")]
    both = [search(f, Slow, url, space={"optim.lr": rates}, prune=False) for f in folders]
    Trials("makes the tables", both[0].tune, tmp_path, url)
    processes = [in_process(one) for one in both]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(begun.read_text().splitlines()) == sorted(f"{rate} 0" for rate in rates)
    straight = run_search(
        search(tmp_path / "straight", space={"optim.lr": rates}, prune=False), Ranks()
    )
    for one in both:
        assert read_selection(one.folder).objective == straight.objective


class StopsItsParent(Watched):
    """Sends the command SIGTERM from inside one of its processes, once."""

    pause = 0.05

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        for number, batch in enumerate(super().training_batches(start, ranks), start=start):
            marker = Path(os.environ["BEGUN"]).with_name("marker")
            if number == 3 and not marker.exists():
                marker.touch()
                os.kill(os.getppid(), signal.SIGTERM)
            yield batch


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_jobs_that_a_signal_stopped_go_on_to_the_same_selection(
    tmp_path: Path, begun: Path, processes: int
):
    space = {"optim.lr": GOOD}
    jobs = search(tmp_path / "two", StopsItsParent, space=space)
    with pytest.raises(Interrupted, match="the same command goes on"):
        run_search(jobs, Ranks(), Processes(2))
    assert list(jobs.folder.glob("trials/*/last.pt"))
    gone_on = run_search(jobs, Ranks(), Processes(2) if processes == 2 else None)
    starts = [line for line in begun.read_text().splitlines() if line.endswith(" 0")]
    assert len(set(starts)) == 5
    straight = run_search(search(tmp_path / "one", space=space), Ranks())
    assert gone_on.selected == straight.selected
    assert gone_on.objective == pytest.approx(straight.objective, rel=1e-4)


class FailsFast(Watched):
    """Its loss is no number at a high rate."""

    def loss(self, model: nn.Module, batch: ToyBatch) -> Tensor:
        loss = super().loss(model, batch)
        return loss * float("nan") if self.settings.optim.lr > 0.045 else loss


def test_a_trial_that_fails_counts_as_failed_and_the_search_goes_on(tmp_path: Path):
    found = run_search(search(tmp_path, FailsFast, space={"optim.lr": GOOD}), Ranks())
    assert found.tried == {"complete": 4, "pruned": 0, "failed": 1}
    assert found.trials[0]["state"] == "failed"
    assert "the loss is not a number, at step" in found.trials[0]["error"]
    assert found.selected != {"optim.lr": 0.05}


def test_a_search_of_which_all_trials_fail_says_so(tmp_path: Path):
    with pytest.raises(
        RunError, match=r"all 2 settings failed, the first by: .* the loss is not a number"
    ):
        run_search(search(tmp_path, FailsFast, space={"optim.lr": [0.05, 0.06]}), Ranks())


class StopsAfterFive(Watched):
    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        begun = Path(os.environ["BEGUN"])
        if begun.exists() and len(begun.read_text().splitlines()) == 5:
            raise Interrupted("stopped")
        return super().training_batches(start, ranks)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_sampler_that_was_stopped_goes_on_with_the_points_it_would_have_drawn(
    tmp_path: Path, begun: Path, sampler: str
):
    drawn = {
        "space": {"optim.lr": {"low": 1e-4, "high": 0.1, "log": True}, "memel.top_k": [1, 2]},
        "sampler": sampler,
        "trials": 12,
    }
    straight = run_search(search(tmp_path / "straight", **drawn), Ranks())
    begun.unlink()
    with pytest.raises(Interrupted):
        run_search(search(tmp_path / "stopped", StopsAfterFive, **drawn), Ranks())
    begun.unlink()
    stopped = run_search(search(tmp_path / "stopped", **drawn), Ranks())
    assert outcome(tmp_path / "stopped" / "Tune") == outcome(tmp_path / "straight" / "Tune")
    assert stopped.objective == straight.objective
    assert len({row["optim.lr"] for row in stopped.trials}) == 12


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_sampler_draws_no_setting_twice(tmp_path: Path, sampler: str):
    space = {"memel.delta": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}
    found = run_search(search(tmp_path, space=space, sampler=sampler, trials=12), Ranks())
    assert sorted(row["memel.delta"] for row in found.trials) == list(range(12))


def test_tpe_draws_nearer_to_what_did_well_than_chance(tmp_path: Path):
    space = {"optim.lr": {"low": 0.0, "high": 1.0}}
    tune = search(tmp_path, space=space, sampler="tpe", trials=20).tune
    trials = Trials("study", tune, tmp_path, None)
    for number in range(15):
        rate = trials.draw("random", number)["optim.lr"]
        trials.add({"optim.lr": rate})
        trials.begin(number)
        trials.finish(number, TrialState.COMPLETE, (rate - 0.3) ** 2)

    def distance(sampler: str) -> float:
        return fmean(abs(trials.draw(sampler, seed)["optim.lr"] - 0.3) for seed in range(20))

    assert distance("tpe") < 0.75 * distance("random")


def test_a_torn_line_in_the_journal_is_mended(tmp_path: Path):
    folder = tmp_path / "Tune"
    with pytest.raises(Interrupted):
        run_search(search(tmp_path, StopsAfterFive, prune=False), Ranks())
    with (folder / "journal.log").open("a") as file:
        file.write('{"op_code":7,"worker_id":"a process that was kil')
    Path(os.environ["BEGUN"]).unlink()
    assert run_search(search(tmp_path, prune=False), Ranks()).tried["complete"] == 6
    for line in (folder / "journal.log").read_text().splitlines():
        json.loads(line)


def test_a_validation_that_the_study_has_not_heard_of_is_reported_on_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    one = search(tmp_path, space={"optim.lr": [0.02]})
    with monkeypatch.context() as patch:
        patch.setattr(Trials, "report", killed)
        with pytest.raises(KeyboardInterrupt):
            run_search(one, Ranks())
    told: list[int] = []
    report = Trials.report

    def listening(self: Trials, number: int, step: int, objective: float) -> None:
        told.append(step)
        report(self, number, step, objective)

    monkeypatch.setattr(Trials, "report", listening)
    run_search(one, Ranks())
    assert told == [6, 12]


def test_a_trial_whose_process_falls_silent_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(study, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(study, "GRACE_SECONDS", 1)
    url = f"sqlite:///{tmp_path / 'tune.db'}"
    what = search(tmp_path, url=url, space={"optim.lr": [0.02, 0.03]}, prune=False)
    what.folder.mkdir()
    trials = Trials("study", what.tune, tmp_path / "on another machine", url)
    trials.add({"optim.lr": 0.02})
    assert trials.begin(0) and trials.begin(0)  # again: goes on with it in its folder
    other = Trials("study", what.tune, what.folder, url)
    assert not other.begin(0)
    other.drop_silent()
    assert other.get(0).state == TrialState.RUNNING
    Searcher(what, other).work()  # tries 0.03 and waits until the heartbeat is old
    assert [(t.number, t.params["optim.lr"], t.state.name) for t in other.all()] == [
        (2, 0.02, "COMPLETE"),
        (1, 0.03, "COMPLETE"),
    ]
    assert other.get(0).state == TrialState.FAIL


def test_of_two_trials_of_one_setting_the_first_counts(tmp_path: Path):
    """Two machines that begin in the same moment may both add it."""
    what = search(tmp_path, space={"optim.lr": [0.02, 0.03]})
    what.folder.mkdir()
    trials = Trials("study", what.tune, what.folder, None)
    for rate in (0.02, 0.02, 0.03):
        trials.add({"optim.lr": rate})
    Searcher(what, trials).work()
    assert [(t.number, t.state.name) for t in trials.all()] == [(0, "COMPLETE"), (2, "COMPLETE")]


def test_a_database_that_cannot_be_used_says_what_is_expected(tmp_path: Path):
    with pytest.raises(ConfigError, match="--storage: expected the URL of a database"):
        run_search(search(tmp_path, url="nosuchdb://here"), Ranks())


def test_an_unknown_or_unfit_key_is_told_before_anything_is_trained(tmp_path: Path, begun: Path):
    with pytest.raises(ValidationError, match="topk"):
        run_search(search(tmp_path, space={"memel.topk": [1]}), Ranks())
    ranged = {"memel.top_k": {"low": 1.0, "high": 4.0}}
    with pytest.raises(ValidationError, match="top_k"):
        run_search(search(tmp_path, space=ranged, sampler="tpe", trials=3), Ranks())
    assert not begun.exists()


def test_under_torchrun_a_search_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="torchrun exclude each other; run `nowcast tune`"):
        run_search(search(tmp_path), Ranks(rank=0, size=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": {"a": []}}, "at least 1 item"),
        ({"space": {"a": [1, 1]}}, "expected each once"),
        ({"space": {"train.seed": [0, 1]}}, "not for a search to choose"),
        ({"space": {"a": {"low": 0, "high": 1}}}, "a grid needs choices"),
        ({"space": {"a": {"low": 2, "high": 1}}}, "expected low < high"),
        ({"space": {"a": {"low": 0, "high": 1, "log": True}}}, "expected low > 0"),
        ({"trials": 3}, "a grid tries all 25 settings"),
        ({"sampler": "tpe"}, "how many settings tpe is to draw"),
        ({"sampler": "tpe", "trials": 26}, "at most the 25 settings"),
    ],
)
def test_a_search_that_cannot_be_is_refused(settings: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        TuneSettings.model_validate(settings)


def test_a_comparison_goes_on_with_what_was_selected(tmp_path: Path, begun: Path):
    comparison = CompareSettings.model_validate(
        {
            "seeds": [3, 4],
            "variants": {
                "Pretrained": {},
                "MEmeL-Tune": {
                    "start_from": "Pretrained",
                    "set": {"optim.lr": 0.01},
                    "tune": {"space": {"memel.delta": [1, 10]}},
                },
            },
        }
    )
    frozen = tuned(comparison, resolve, Watched, tmp_path, Ranks())
    found = read_selection(search_folder(tmp_path, "MEmeL-Tune"))
    assert found.seed == 3
    assert frozen.variants["Pretrained"] == comparison.variants["Pretrained"]
    changed = frozen.variants["MEmeL-Tune"]
    assert changed.set == {"optim.lr": 0.01, **found.selected}
    assert (changed.start_from, changed.tune) == ("Pretrained", None)
    # The parent's run is the comparison's own, of one seed so far; no split but valid was seen.
    assert [path.name for path in (tmp_path / "runs" / "Pretrained").iterdir()] == ["seed3"]
    assert begun.read_text().splitlines() == ["0.02 0", "0.01 0", "0.01 0"]

    table = compare(frozen, resolve, ToyTask, tmp_path, Ranks())
    assert [row.name for row in table.rows] == ["Pretrained", "MEmeL-Tune"]
    assert tuned(comparison, resolve, Watched, tmp_path, Ranks()) == frozen
    assert len(begun.read_text().splitlines()) == 3


def test_a_database_may_have_any_name_that_its_url_can_say(tmp_path: Path):
    settings = search(tmp_path / "what", space={"optim.lr": [0.02]}).tune
    for name in ("a{b}.db", "50%.db", "#1 [red].db"):
        Trials("study", settings, tmp_path, f"sqlite:///{tmp_path / name}")
        assert (tmp_path / name).is_file()
    with pytest.raises(ConfigError, match=r"after the \? of .*, found none; choose a file without"):
        Trials("study", settings, tmp_path, f"sqlite:///{tmp_path / 'what?.db'}")
