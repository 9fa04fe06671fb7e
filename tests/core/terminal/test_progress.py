import errno
import io
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nowcast.core.execution.relay import Mirror, Relay
from nowcast.core.settings import OptimSettings, RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.bars import Bars
from nowcast.core.terminal.displays import TextLines, display_on
from nowcast.core.terminal.progress import Display, counted, duration, line, say, shown
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.trainer import train
from tests.core.toy import ToyTask

SETTINGS = RunSettings(
    task="toy",
    train=TrainSettings(steps=6, validate_every=3, batch_size=4, log_every=2),
    optim=OptimSettings(lr=0.05),
)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Log:
    """Lines of text on a clock that stands still until it is told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._written: list[str] = []
        self.display = TextLines(self._written.append, self.clock)

    @property
    def lines(self) -> list[str]:
        return [text.removeprefix("nowcast: ") for text in self._written]

    def passes(self, seconds: float) -> None:
        """Time, and what looks at the clock once a second."""
        for _ in range(round(seconds)):
            self.clock.now += 1
            self.display.look()


def test_text_comes_at_once_then_at_least_every_half_minute_and_at_the_end():
    log = Log()
    with shown(log.display), line("first", 200, unit="steps") as training:
        for _ in range(100):
            training.advance("loss 0.5")
            log.passes(1)
        spoken = len(log.lines)
    assert log.lines[0] == "first: 2 of 200 steps, loss 0.5, 1 a second, 3 min 18 s left"
    assert spoken == 1 + 98 // 20
    assert log.lines[-1] == "first: 100 of 200 steps, loss 0.5, 1 a second, ended after 1 min 40 s"


def test_work_that_does_not_come_on_is_told_of_all_the_same():
    log = Log()
    with shown(log.display), line("one long step", 3, unit="steps") as work:
        log.passes(61)
        work.advance()
    assert log.lines == [
        "one long step: 0 of 3 steps, for 2 s",
        "one long step: 0 of 3 steps, for 22 s",
        "one long step: 0 of 3 steps, for 42 s",
        "one long step: 1 of 3 steps, 61 s each, ended after 1 min 01 s",
    ]


def test_short_work_is_not_told_of():
    log = Log()
    with shown(log.display):
        for _ in range(5):
            with counted("short") as progress:
                progress(1, 2)
                log.passes(1)
    assert log.lines == []


def test_time_left_is_by_the_work_done_here():
    log = Log()
    with shown(log.display), line("resumed", 1000, done=900, unit="steps") as work:
        log.clock.now = 10.0
        work.advance(by=10)
    assert log.lines[0] == "resumed: 910 of 1000 steps, 1 a second, 1 min 30 s left"


def test_of_work_within_work_only_the_innermost_is_told():
    log = Log()
    with shown(log.display), line("training", 10):
        log.passes(2)
        with line("validation", 4, unit="samples"):
            log.passes(25)
        log.passes(1)
    titles = [text.partition(":")[0] for text in log.lines]
    assert titles == ["training", "validation", "validation", "validation", "training"]


def test_work_of_unknown_length_is_timed():
    log = Log()
    with shown(log.display), counted("frames", "frames") as progress:
        log.passes(3)
        progress(50, 200)
        log.passes(20)
    assert log.lines[:2] == [
        "frames: for 2 s",
        "frames: 50 of 200 frames, 2.27 a second, 1 min 06 s left",
    ]


def test_a_library_call_shows_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    train(ToyTask(SETTINGS), SETTINGS, Run(tmp_path / "run"), Ranks())
    say("nobody hears this")
    assert capsys.readouterr() == ("", "")


def test_training_tells_step_loss_rate_and_the_scores_of_each_validation(tmp_path: Path):
    log = Log()

    class Slow(ToyTask):
        def training_batches(self, start, ranks):
            for batch in super().training_batches(start, ranks):
                log.passes(30)
                yield batch

    with shown(log.display):
        train(Slow(SETTINGS), SETTINGS, Run(tmp_path / "slow"), Ranks())
    steps = [text for text in log.lines if text.startswith("slow: ") and "steps, " in text]
    assert steps[0] == "slow: 0 of 6 steps, for 2 s"
    assert steps[2].startswith("slow: 1 of 6 steps, loss ")
    assert steps[2].endswith(", lr 0.05, 42 s each, 3 min 30 s left")
    validated = [text.partition("; ")[2] for text in steps if "valid" in text]
    assert re.match(r"valid Error 0\.\d{3} \(step 3, the best\), ", validated[0])
    assert re.match(r"valid Error 0\.\d{3} \(step 6, the best\), ", validated[-1])


def test_scoring_counts_the_samples_of_all_ranks():
    log, task = Log(), ToyTask(SETTINGS)
    seen = []

    class Look(ToyTask):
        def score(self, model, batch):
            log.passes(21)
            return super().score(model, batch)

    with shown(log.display):
        model = task.baseline("identity")
        evaluate(Look(SETTINGS), model, "test", Ranks(), task.x.device, "scoring identity")
        seen = log.lines
    total = task.samples("test")
    assert seen[0] == f"scoring identity: 0 of {total} samples, for 2 s"
    assert f"scoring identity: 4 of {total} samples, " in seen[1] + seen[2]
    assert seen[-1].startswith(f"scoring identity: {total} of {total} samples, ")


def test_a_log_that_cannot_be_written_ends_no_work():
    def full(text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with shown(TextLines(full, Clock())), line("goes on", 2) as work:
        say("unheard")
        work.advance()
    assert work.done == 1


class TestBars:
    def bars(self) -> tuple[Bars, io.StringIO]:
        stream = io.StringIO()
        return Bars(Console(file=stream, force_terminal=True, width=150)), stream

    def test_what_comes_from_outside_is_not_markup(self):
        bars, stream = self.bars()
        with shown(bars), line("run[red] [/] 50% {b} $x_1$", 4, unit="steps") as work:
            work.advance("loss [bold]1[/bold]")
            say("runs/[/x]: said [blue]so[/]")
        text = stream.getvalue()
        assert "run[red] [/] 50% {b} $x_1$" in text
        assert "loss [bold]1[/bold]" in text and "runs/[/x]: said [blue]so[/]" in text

    def test_work_within_work_leaves_nothing_behind(self):
        bars, stream = self.bars()
        with shown(bars), line("training", 4) as work:
            with line("validation", 4):
                pass
            work.advance("loss 1, valid B-MSE 12")
        *_, bar, note, _ = stream.getvalue().splitlines()  # the cursor is shown again
        assert "training" in bar and "1/4" in bar
        assert "training: loss 1, valid B-MSE 12" in note and "validation" not in bar + note

    def test_an_error_finds_the_terminal_free(self):
        bars, _ = self.bars()
        with pytest.raises(RuntimeError), shown(bars), line("ends early", 4):
            raise RuntimeError
        assert bars._progress is None


def test_a_terminal_has_bars_a_pipe_has_text_and_other_ranks_are_silent():
    def shown_on(rank: str = "0", **kind: Any) -> object:
        with display_on(Console(file=io.StringIO(), **kind), rank) as display:
            return type(display)

    assert shown_on(force_terminal=True, _environ={"TERM": "xterm"}) is Bars
    assert shown_on(force_terminal=True, _environ={"TERM": "dumb"}) is TextLines
    assert shown_on() is TextLines
    assert shown_on("1", force_terminal=True) is Display


def test_a_worker_is_shown_by_the_process_that_started_it():
    log, clock, sent = Log(), Clock(), []
    relay = Relay(lambda report: sent.append(pickle.dumps(report)), clock)
    with shown(relay), line("P-MEmeL seed 1", 9, unit="steps") as training:
        clock.now = 2.0
        training.advance("loss 3", by=5)
        training.advance("loss 2")  # too soon after the last to be sent
        with line("P-MEmeL seed 1: validation", 4):
            clock.now = 4.0
        say("P-MEmeL seed 1: validated")
    with shown(log.display):
        mirror = Mirror()
        for report in sent[:2]:
            mirror.take(pickle.loads(report))
        log.passes(2)
        for report in sent[2:]:
            mirror.take(pickle.loads(report))
        log.passes(30)  # closed: nothing more
    assert log.lines == [
        "P-MEmeL seed 1: 5 of 9 steps, loss 3, 2.5 a second, 2 s left",
        "P-MEmeL seed 1: validated",
        "P-MEmeL seed 1: 6 of 9 steps, loss 2, 3 a second, ended after 2 s",
    ]


def test_what_a_dead_worker_left_open_is_closed():
    log, sent = Log(), []
    with shown(Relay(sent.append, Clock())), line("lost", 9), shown(log.display):
        mirror = Mirror()
        mirror.take(sent[0])
        log.passes(3)
        mirror.close()
        log.passes(30)
    assert [text.partition(",")[0] for text in log.lines] == ["lost: 0 of 9", "lost: 0 of 9"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (185.0, "3 min 05 s"), (7380.0, "2 h 03 min")],
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text
