"""Online: the past alone is handed out, every forecast is asked for once, and learning is the
benchmark's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.memel.plug import plugged
from nowcast.core.scoring.sums import Sums
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.trainer import build_model
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.forecasters.persistence import Persistence
from nowcast.precipitation.online import evaluate as online_evaluate
from nowcast.precipitation.online.arrival import Arrival
from nowcast.precipitation.online.evaluate import evaluate_online
from nowcast.precipitation.online.learner import OnlineLearner
from nowcast.precipitation.online.stream import Request, Stream
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask
from tests.conftest import every

CPU = torch.device("cpu")
STAGE = {"channels": 2, "hidden": 4, "kernel": 3, "down": [3, 2, 1], "up": [4, 2, 1]}
SHAPES = {"in_len": 2, "out_len": 4, "stride": 2}


def task_of(root: Path, **sections: dict) -> PrecipitationTask:
    data = {"root": root, **SHAPES, **sections.pop("data", {})}
    content = {"data": data, "model": {"stages": [STAGE]}, **sections}
    return PrecipitationTask(PrecipitationSettings.model_validate(content))


def online(task: PrecipitationTask, model: nn.Module):
    return evaluate_online(task, model, "test", CPU, task.settings)


def network(task: PrecipitationTask) -> nn.Module:
    torch.manual_seed(3)
    return build_model(task, task.settings.memel)


class Biased(nn.Module):
    """Persistence that is wrong by a constant, which can be learnt."""

    def __init__(self, out_len: int = SHAPES["out_len"], bias: float = 0.2) -> None:
        super().__init__()
        self.out_len = out_len
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        return frames[:, -1:].expand(-1, self.out_len, -1, -1, -1) + self.bias


@pytest.fixture
def steady(tmp_path: Path) -> Callable[..., Path]:
    """Writes an archive of 8x8 frames, one level everywhere and always; some days of `test`."""

    def write(name: str, moments: list[str], level: Callable[[int], int] = lambda _: 120) -> Path:
        root = tmp_path / name
        with ArchiveWriter(root, Description(name, "the tests", 6, 8, 8, 58.53, 1.56)) as writer:
            whole = np.ones((8, 8), dtype=bool)
            for number, time in enumerate(moments):
                levels = np.full((8, 8), level(number), dtype=np.uint8)
                writer.write(np.datetime64(time, "m"), levels, whole)
            days = {time[:10].replace("-", ""): 1.0 for time in moments}
            writer.finish(whole, {"train": {}, "valid": {}, "test": days})
        return root

    return write


def recorded(task: PrecipitationTask, monkeypatch: pytest.MonkeyPatch) -> list[RadarBatch]:
    """The clips that the task's loss is taken on, as they come."""
    found: list[RadarBatch] = []
    loss = task.loss

    def record(model: nn.Module, batch: RadarBatch) -> Tensor:
        found.append(batch)
        return loss(model, batch)

    monkeypatch.setattr(task, "loss", record)
    return found


def clock(batch: RadarBatch) -> list[str]:
    return [str(time)[11:] for time in batch.times[0].numpy().astype("datetime64[m]")]


class Blur(nn.Module):
    """A network whose forecasts hold rain without training: a mean over the last two frames."""

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        mean = functional.conv2d(frames[:, -2:, 0], torch.full((4, 2, 3, 3), 1 / 18), padding=1)
        return mean[:, :, None]


@pytest.mark.parametrize("data", [{}, {"max_missing": 2, "masks": "both"}, {"stride": 9}])
def test_without_learning_the_sums_are_those_of_the_offline_setting(synthetic: Path, data: dict):
    # A convolution's last bits depend on the batch size; persistence is the same in any.
    for model, batch_size in ((Persistence(4), 5), (Blur(), 1)):
        task = task_of(synthetic, data=data, train={"batch_size": batch_size})
        stream = Stream(task, "test")
        for _ in range(len(stream)):
            request = stream.next()
            stream.submit(request.init_time, model(request.frames, request.mask))
        found = stream.finish()
        parts = [task.score(model, batch) for batch in task.evaluation_batches("test", Ranks())]
        expected: Sums = sum(parts[1:], parts[0])
        assert found.values.keys() == expected.values.keys()
        assert expected["hits"][:3].min() > 0
        for name, value in expected.values.items():
            if value.dtype == np.int64:
                assert (found[name] == value).all(), name
            else:
                np.testing.assert_allclose(found[name], value, rtol=1e-9)


def test_without_learning_a_networks_scores_are_those_of_evaluate(synthetic: Path):
    task = task_of(synthetic, train={"batch_size": 1}, online={"updates": 0})
    model = network(task)
    assert online(task, model) == evaluate(task, model, "test", Ranks(), CPU)


def test_a_biased_network_learns_in_steady_rain_and_the_one_given_stays(steady):
    root = steady("steady", every(6, "2020-01-01T00:00", 120))
    task = task_of(root, online={"lr": 0.05})
    model = Biased()
    offline = evaluate(task, model, "test", Ranks(), CPU).values
    learnt = online(task, model).values
    assert model.bias.item() == pytest.approx(0.2)
    assert learnt["b_mse"] < 0.3 * offline["b_mse"]
    assert learnt["b_mae"] < 0.5 * offline["b_mae"]


@pytest.mark.parametrize("clip_norm", [50.0, 1e-3])
def test_one_step_is_adagrads(steady, clip_norm: float):
    root = steady("steady", every(6, "2020-01-01T00:00", 8))
    task = task_of(root, online={"clip_norm": clip_norm})
    learner = OnlineLearner(Biased(), task, task.settings.online, seed=0)
    stream = Stream(task, "test")
    assert len(stream) == 2
    learner.observe(stream.next().arrived)  # 2 of 6 frames
    learner.observe(arrival(6, start=2))
    assert (learner.steps, learner.network.bias.item()) == (0, pytest.approx(0.2))
    learner.observe(arrival(2, start=8))
    # Loss: 5e-5 times 64 pixels of weight 2 (2 to 5 mm/h): the gradient of (e^2 + |e|) is 2e + 1.
    rate = task.archive.calibration.rate_from_pixel(np.array(120 / 255))
    assert 2 < rate < 5
    gradient = min(5e-5 * 64 * 2 * (2 * 0.2 + 1), clip_norm)
    expected = 0.2 - 1e-4 * gradient / (gradient + 1e-4)
    assert learner.steps == 1
    assert learner.network.bias.item() == pytest.approx(expected, abs=1e-7)


def arrival(count: int, start: int = 0, new_episode: bool = False) -> Arrival:
    return Arrival(
        torch.full((count, 1, 8, 8), 120, dtype=torch.uint8),
        torch.ones((count, 1, 8, 8), dtype=torch.bool),
        26_297_280 + 6 * torch.arange(start, start + count),
        torch.zeros(count, dtype=torch.bool),
        new_episode,
    )


def test_a_step_is_on_the_newest_clip_before_the_new_frames_and_none_spans_a_gap(
    steady, monkeypatch: pytest.MonkeyPatch
):
    moments = [
        *every(6, "2020-01-01T00:00", 12),
        *every(6, "2020-01-01T03:00", 11),
        *every(6, "2020-01-02T03:00", 6),
    ]
    task = task_of(steady("gaps", moments))
    found = recorded(task, monkeypatch)
    online(task, Biased())
    whole = [clock(batch) for batch in found]
    # Init times 00:06 00:18 00:30 00:42; the buffer (2 + 4 frames) is full from 00:30 on. It is
    # learnt from as 00:42 arrives, once more as the second episode begins, and as the third does.
    assert [(times[0], times[-1]) for times in whole] == [
        ("00:00", "00:30"),
        ("00:12", "00:42"),
        ("03:00", "03:30"),
    ]


def test_two_updates_are_two_steps_on_one_clip(steady, monkeypatch: pytest.MonkeyPatch):
    root = steady("steady", every(6, "2020-01-01T00:00", 12))
    for updates in (1, 2):
        task = task_of(root, online={"updates": updates})
        found = recorded(task, monkeypatch)
        online(task, Biased())
        assert [clock(batch)[0] for batch in found] == updates * ["00:00"]


def test_no_frame_is_seen_before_its_time_and_each_arrives_once(synthetic: Path):
    for data in ({}, {"stride": 3, "in_len": 5}, {"stride": 9}, {"max_missing": 3}):
        task = task_of(synthetic, data=data)
        stream = Stream(task, "test")
        arrivals: list[Arrival] = []
        for _ in range(len(stream)):
            request = stream.next()
            init = np.datetime64(request.init_time, "m").astype(np.int64)
            new, length = request.arrived, task.settings.data.in_len
            assert new.times[-1] == init
            if not new.new_episode:
                assert len(new) == task.settings.data.stride
                assert new.times[0] == arrivals[-1].times[-1] + 6
            pixels = new.levels[-length:].float() / 255
            shared = len(pixels)
            assert torch.equal(request.frames[0, -shared:], pixels)
            assert torch.equal(request.mask[0, -shared:], new.mask[-length:])
            for tensor in (request.frames, request.mask):
                assert tensor.untyped_storage().nbytes() == tensor.nbytes
            arrivals.append(new)
            stream.submit(request.init_time, request.frames[:, -1:].expand(-1, 4, -1, -1, -1))
        times = torch.cat([new.times for new in arrivals])
        assert (times.diff() > 0).all()


def test_another_future_changes_no_earlier_forecast(steady):
    """Forecasts of a learner up to a moment, from archives that differ after it."""
    forecasts = []
    for name, later in (("one", 200), ("other", 30)):
        level = lambda n, later=later: 100 + n % 7 if n < 30 else later  # noqa: E731
        root = steady(name, every(6, "2020-01-01T00:00", 60), level)
        task = task_of(root, online={"lr": 0.01})
        learner = OnlineLearner(network(task), task, task.settings.online, seed=0).eval()
        stream = Stream(task, "test")
        made = []
        for _ in range(len(stream)):
            request = stream.next()
            learner.observe(request.arrived)
            with torch.inference_mode():
                made.append(learner(request.frames, request.mask))
            stream.submit(request.init_time, made[-1])
        forecasts.append(torch.cat(made))
    # Clip c has init time c * 2 + 1, and level 30 is the first that differs.
    same = [torch.equal(one, other) for one, other in zip(*forecasts, strict=True)]
    assert same[:15] == [True] * 15
    assert not any(same[15:])
    assert not torch.equal(forecasts[0][3], forecasts[0][14])  # it has learnt meanwhile


@pytest.fixture
def stream(steady) -> Stream:
    return Stream(task_of(steady("steady", every(6, "2020-01-01T00:00", 10))), "test")


def forecast(request: Request) -> Tensor:
    return request.frames[:, -1:].expand(-1, 4, -1, -1, -1)


def test_a_missing_forecast_is_refused_and_its_init_time_named(stream: Stream):
    with pytest.raises(RunError, match=r"expected 3 forecasts, found 0.*2020-01-01T00:06"):
        stream.finish()
    first = stream.next()
    for call in (stream.next, stream.finish):
        with pytest.raises(RunError, match="2020-01-01T00:06 is missing"):
            call()
    stream.submit(first.init_time, forecast(first))
    with pytest.raises(RunError, match=r"expected 3 forecasts, found 1.*2020-01-01T00:18"):
        stream.finish()


def test_a_second_or_misplaced_or_surplus_forecast_is_refused(stream: Stream):
    first = stream.next()
    stream.submit(first.init_time, forecast(first))
    with pytest.raises(RunError, match=r"2020-01-01T00:06.*second"):
        stream.submit(first.init_time, forecast(first))
    second = stream.next()
    with pytest.raises(RunError, match="00:18, found that of 2020-01-01T00:06"):
        stream.submit(first.init_time, forecast(first))
    stream.submit(second.init_time, forecast(second))
    last = stream.next()
    stream.submit(last.init_time, forecast(last))
    with pytest.raises(RunError, match="expected 3 requests of this stream, found one more"):
        stream.next()
    assert stream.finish()["clips"] == 3


@pytest.mark.parametrize("shape", [(1, 3, 1, 8, 8), (2, 4, 1, 8, 8), (1, 4, 1, 8, 7)])
def test_a_forecast_of_another_shape_is_refused(stream: Stream, shape: tuple[int, ...]):
    request = stream.next()
    with pytest.raises(RunError, match=r"00:06: expected a forecast of \(1, 4, 1, 8, 8\)"):
        stream.submit(request.init_time, torch.zeros(shape))
    stream.submit(request.init_time, forecast(request))  # the right one is still taken


def test_any_forecaster_can_observe(steady):
    class Watcher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[str] = []

        def observe(self, arrived: Arrival) -> None:
            self.calls.append(f"{len(arrived)}{' new' if arrived.new_episode else ''}")

        def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
            self.calls.append("forecast")
            return frames[:, -1:].expand(-1, 4, -1, -1, -1)

    watcher = Watcher()
    online(task_of(steady("steady", every(6, "2020-01-01T00:00", 10))), watcher)
    assert watcher.calls == ["2 new", "forecast", "2", "forecast", "2", "forecast"]


def test_missing_frames_arrive_masked_and_teach_nothing(steady, monkeypatch: pytest.MonkeyPatch):
    moments = every(6, "2020-01-01T00:00", 16)
    gone = {3, 4, 9}
    root = steady("holes", [time for n, time in enumerate(moments) if n not in gone])
    task = task_of(root, data={"max_missing": 2})
    found = recorded(task, monkeypatch)
    online(task, Biased(bias=0.0))
    assert found
    for batch in found:
        numbers = (batch.times[0] - batch.times[0, 0]) // 6 + (int(clock(batch)[0][3:]) // 6)
        missing = torch.tensor([int(n) in gone for n in numbers])
        assert torch.equal(batch.missing[0], missing)
        assert not batch.mask[0, missing].any() and batch.mask[0, ~missing].all()
        assert (batch.levels == 120).all()  # a missing frame repeats the one before it


def test_windows_come_from_the_seed(synthetic: Path, monkeypatch: pytest.MonkeyPatch):
    results = []
    for seed in (0, 0, 1):
        task = task_of(
            synthetic,
            data={"random_crop": [32, 32], "stride": 8},
            train={"seed": seed},
            online={"lr": 0.01},
        )
        found = recorded(task, monkeypatch)
        results.append(online(task, network(task)).values)
        assert {batch.levels.shape[-2:] for batch in found} == {(32, 32)}
    assert results[0] == results[1]
    assert results[0]["b_mse"] != results[2]["b_mse"]


def test_frames_that_the_strides_do_not_divide_are_padded_with_masked_pixels(steady):
    root = steady("steady", every(6, "2020-01-01T00:00", 40))
    learnt = []
    for stride, kernel, padding in ((1, 3, 1), (3, 3, 0)):
        stage = STAGE | {"down": [kernel, stride, padding], "up": [kernel, stride, padding]}
        task = task_of(root, model={"stages": [stage]}, online={"lr": 0.01})
        assert 8 % task.settings.model.multiple == (0 if stride == 1 else 2)
        learnt.append(online(task, Biased()).values)
    assert learnt[0] == pytest.approx(learnt[1], nan_ok=True)


def test_memel_acts_while_learning_and_not_in_forecasts(synthetic: Path):
    memel = {"forget_steps": 2, "late_start": 2}
    task = task_of(synthetic, memel=memel, data={"stride": 30}, online={"lr": 0.01})
    model = network(task).eval()
    (name, layer), *_ = plugged(model).items()
    learner = OnlineLearner(model, task, task.settings.online, seed=0).eval()
    copy = plugged(learner.network)[name]
    stream = Stream(task, "test")
    while learner.steps < 2:
        request = stream.next()
        learner.observe(request.arrived)
        counted = int(copy.num_batches_tracked)
        with torch.inference_mode():
            stream.submit(request.init_time, learner(request.frames, request.mask))
        assert not copy.training and copy.num_batches_tracked == counted
    assert layer.num_batches_tracked == 0
    # Two steps of two encoder frames each, or four of the forecaster.
    assert copy.num_batches_tracked == 2 * (2 if name.startswith("encoder") else 4)


def test_statistics_of_frames_of_another_size_are_a_users_mistake(synthetic: Path):
    trained = task_of(synthetic, memel={}, data={"random_crop": [32, 32], "stride": 30})
    model = network(trained)
    task = task_of(synthetic, memel={}, data={"stride": 30})
    with pytest.raises(ConfigError, match=r"64x64 pixels.*data\.random_crop.*memel=null"):
        online(task, model)
    assert all(module.training for module in model.modules())  # as it came


def test_a_loss_that_is_no_number_stops_it(steady):
    task = task_of(steady("steady", every(6, "2020-01-01T00:00", 20)))
    with pytest.raises(RunError, match=r"the loss is nan.*online\.lr"):
        online(task, Biased(bias=float("nan")))


def test_a_stream_is_not_split_over_processes(steady, monkeypatch: pytest.MonkeyPatch):
    task = task_of(steady("steady", every(6, "2020-01-01T00:00", 20)))
    monkeypatch.setattr(online_evaluate, "current", lambda: Ranks(0, 2))
    with pytest.raises(ConfigError, match="expected one process, found 2"):
        online(task, Biased())
