"""Whatever a feed, a clock, a disk or a kill does, a forecast that can be made is made in time."""

import json
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from tests.precipitation.forecasting.service.replay import (
    DEADLINE,
    FAULTS,
    KINDS,
    STEP,
    Plan,
    Replay,
    moment,
    prepare,
    replay_from,
    unlimited,
)

HOUR = 60
DAY = 24 * HOUR
MOST_LATE = 0.001  # of all forecasts
MOST_MB_A_DAY = 2.0  # of 330: noise, such as a table of the interpreter that grows once by 4 MB


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be: a disk would be waited for at each of thousands of looks."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


def check_files(out: Path) -> None:
    """Nothing is half written, and an alarm is raised and cleared in turn."""
    folders = [path for path in out.iterdir() if path.is_dir()]
    assert len(folders) > 38
    for folder in folders:
        told = json.loads((folder / "forecast.json").read_text())
        assert told["facts"]["rung"] in ("network", "flow", "persistence")
    names = {path.name for path in out.iterdir() if path.is_file()}
    assert names == {"latest.json", "health.json", "alarms.jsonl", "nowcast.prom"}
    lines = (out / "alarms.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["raised", "cleared"] * (len(events) // 2) + ["raised"] * (len(events) % 2)
    assert len(events) > 2


def test_hours_with_everything_that_goes_wrong(folder: Path):
    kinds = {5: "late", 8: "missing", 10: "damaged", 12: "half", 14: "duplicate", 13: "future"}
    faults = {18: "NaN", 20: "memory", 22: "slow"}
    jumps = [(115, 140, -2 * HOUR), (150, 175, 2 * HOUR)]
    plan = Plan(52, kinds, faults, jumps, full=(185, 205), away=(215, 230), ahead=12)
    prepare(folder)
    replay = Replay(folder, plan, 0, lambda minute: None)
    with unlimited():
        made = list(replay.run())
    numbers = [one["number"] for one in made]
    expected = plan.expected([])
    assert len(expected) > 38 and expected <= set(numbers)
    assert numbers == sorted(set(numbers))
    assert all(one["seconds"] <= DEADLINE for one in made if one["number"] in expected)
    rungs = {one["number"]: one["rung"] for one in made}
    assert [rungs[number] for number in (17, *faults, 23)] == ["network", *["flow"] * 3, "network"]
    reasons = {one["number"]: one["reason"] for one in made}
    assert "NaN" in reasons[18] and "MemoryError" in reasons[20] and "took longer" in reasons[22]
    assert rungs[-1] == "persistence" and "1 input frame, of 2" in reasons[-1]  # before all
    future = [line for line in replay.said if "later than the clock" in line]
    assert len(future) == 1 and str(moment(13 + 12)) in future[0]
    check_files(folder / "out")
    health = json.loads((folder / "out" / "health.json").read_text())
    assert health["state"] == "late"  # nothing has come for 13 minutes
    assert health["last_frame"] == health["last_forecast"] == f"{moment(51)}Z"
    assert (
        health["latency_seconds"]["p50"] < DEADLINE < health["latency_seconds"]["p99"]
    )  # a full disk
    missing = {"from": f"{moment(8)}Z", "to": f"{moment(8)}Z", "frames": 1}
    assert missing in health["gaps"]


@pytest.mark.slow
def test_a_week_with_everything_that_goes_wrong_and_three_kills(folder: Path):
    rng = np.random.default_rng(24)
    frames = 7 * DAY // STEP
    numbers = 20 + rng.permutation(frames - 40)
    kinds = {int(n): str(KINDS[k % len(KINDS)]) for k, n in enumerate(numbers[:180])}
    faults = {int(n): str(FAULTS[k % len(FAULTS)]) for k, n in enumerate(numbers[300:390])}
    jumps = [
        (2 * DAY + 12 * HOUR, 2 * DAY + 13 * HOUR, -2 * HOUR),
        (4 * DAY + 6 * HOUR, 4 * DAY + 7 * HOUR, 2 * HOUR),
    ]
    full = (3 * DAY + 2 * HOUR, 3 * DAY + 3 * HOUR)
    away = (5 * DAY + 4 * HOUR, 5 * DAY + 4 * HOUR + 40)
    plan = Plan(frames, kinds, faults, jumps, full, away)
    prepare(folder)
    kills = [int(at) for at in (0.3 * DAY + 3, 0.9 * DAY + 31, 1.6 * DAY + 47)]
    down = killed_at(folder, plan, kills)

    made = [json.loads(line) for line in (folder / "made.jsonl").read_text().splitlines()]
    found = {one["number"]: one for one in made}
    expected = plan.expected(down)
    assert len(expected) > 0.9 * frames
    assert expected - found.keys() == set()
    late = [number for number in expected if found[number]["seconds"] > DEADLINE]
    assert len(late) <= MOST_LATE * len(expected)
    assert {one["rung"] for one in made} == {"network", "flow", "persistence"}
    check_files(folder / "out")
    hours, taken = np.array(json.loads((folder / "memory.json").read_text())).T
    settled = hours > hours[0] + 12
    slope = np.polyfit(hours[settled] / 24, taken[settled] / 2**20, 1)[0]
    seconds = np.array([found[number]["seconds"] for number in expected])
    print(  # noqa: T201
        f"{len(expected)} forecasts expected, {len(late)} late; after a frame landed p50 "
        f"{np.median(seconds):.1f} s, p99 {np.quantile(seconds, 0.99):.1f} s, most "
        f"{seconds.max():.1f} s; memory {taken[-1] / 2**20:.0f} MB, {slope:+.2f} MB a day"
    )
    assert slope < MOST_MB_A_DAY


def killed_at(folder: Path, plan: Plan, kills: list[int]) -> list[tuple[int, int]]:
    """Replay a plan in processes that are killed in these minutes, and started again 7 minutes
    later; when each was down."""
    context = multiprocessing.get_context("spawn")
    minute = context.Value("i", 0)
    begin, down = 0, []
    for kill in [*kills, None]:
        process = context.Process(target=replay_from, args=(folder, plan, begin, minute))
        process.start()
        while process.is_alive() and (kill is None or minute.value < kill):
            time.sleep(0.002)
        if kill is None:
            assert process.exitcode == 0
            return down
        process.kill()
        process.join()
        begin = minute.value + 7
        down.append((minute.value - 1, begin))
        Replay(folder, plan, minute.value - 1, lambda now: None).land_until(begin - 1)
    raise AssertionError("the last one is not killed")
