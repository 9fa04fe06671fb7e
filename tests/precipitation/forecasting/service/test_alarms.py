"""Alarms: what they wait for, one event for each crossing, and the way to their receivers."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nowcast.api.forecasters import load
from nowcast.api.watch import Service
from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.frames import write_frame
from nowcast.precipitation.forecasting.probabilities.members import Members
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.service.alarms.rule import Rule, Watched, read_rules
from nowcast.precipitation.forecasting.service.alarms.sending import Sender, targets
from nowcast.precipitation.forecasting.service.alarms.states import Alarms
from tests.made_forecasts import KNMI, made
from tests.precipitation.forecasting.service.replay import moment, rain

MILL = Rule("Mill", "px:2,3", 5.0, 10.0, 0.4)


def forecast(rate_mm_h: float, *members_mm_h: float, lead: int = 1) -> Forecast:
    """Dry but for one pixel at one lead time."""
    dry = made(3)
    pixels = np.zeros((1 + len(members_mm_h), *dry.pixels.shape), dtype=np.float32)
    rates = np.array([rate_mm_h, *members_mm_h])
    pixels[:, lead, 2, 3] = dry.description.calibration.pixel_from_rate(rates)
    members = Members(pixels[1:], 0) if members_mm_h else None
    return replace(dry, pixels=pixels[0], members=members)


def alarms(folder: Path, events: list[dict[str, Any]], said: list[str] | None = None) -> Alarms:
    watched = [Watched.of(MILL, made(3).description, 3)]
    return Alarms(watched, folder, events.append, (said if said is not None else []).append)


def test_a_rule_is_read_from_a_line_and_from_yaml(tmp_path: Path):
    assert Rule.read("Mill, 52.10,5.18 ,5 mm/h,30min") == Rule("Mill", "52.10,5.18", 5.0, 30.0)
    assert Rule.read("a,px:2,3,0.5mm/h,1.5h,p>=0.4") == Rule("a", "px:2,3", 0.5, 90.0, 0.4)
    file = tmp_path / "alarms.yaml"
    file.write_text(
        "- Mill,52.1,5.2,5mm/h,30min\n"
        '- {name: b, place: "px:1,2", threshold_mm_h: 2, within_minutes: 60, probability: 0.3}\n'
    )
    assert [rule.name for rule in read_rules(["a,1,2,3mm/h,1h"], file)] == ["a", "Mill", "b"]
    assert read_rules([], file)[1] == Rule("b", "px:1,2", 2.0, 60.0, 0.3)
    for text in ("Mill,52.1,5mm/h,30min", "a,1,2,5mm,1h", "a,1,2,0mm/h,1h", "a,1,2,5mm/h,1h,p>=2"):
        with pytest.raises(ConfigError, match=r"--alarm: expected"):
            Rule.read(text)
    with pytest.raises(ConfigError, match="each name once, found Mill again"):
        read_rules(["Mill,1,2,3mm/h,1h"], file)
    for content, words in (("a: 1", "expected a list"), ("[[", "line 1"), ("- {name: a}", "found")):
        file.write_text(content)
        with pytest.raises(ConfigError, match=words):
            read_rules([], file)


def test_a_place_is_within_the_frame_and_a_time_after_the_first_lead():
    description = made(3).description
    with pytest.raises(ConfigError, match=r"--alarm Mill px:9,3: .* within the 6x8 frame"):
        Watched.of(replace(MILL, place="px:9,3"), description, 3)
    with pytest.raises(ConfigError, match=r"--alarm Mill: expected 5 minutes or more"):
        Watched.of(replace(MILL, within_minutes=4.0), description, 3)
    on_map = replace(MILL, place="55.97,0.05")
    assert Watched.of(on_map, made(3, grid=KNMI).description, 3).point.column == 3


def test_one_event_for_each_crossing_and_one_when_it_is_over(tmp_path: Path):
    events: list[dict[str, Any]] = []
    held = alarms(tmp_path, events)
    for rate in (0.0, 4.9, 5.1, 4.5, 9.0, 4.2, 3.9, 4.5, 5.1):
        held.check(forecast(rate))
    assert [event["event"] for event in events] == ["raised", "cleared", "raised"]
    assert [event["rate_mm_h"] for event in events] == pytest.approx([5.1, 3.9, 5.1], abs=0.02)
    assert (events[0]["name"], events[0]["row"], events[0]["probability"]) == ("Mill", 2, None)
    lines = (tmp_path / "alarms.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == events
    held.check(forecast(99.0, lead=2))  # beyond its time
    assert events[-1]["event"] == "cleared"


def test_members_give_a_probability(tmp_path: Path):
    events: list[dict[str, Any]] = []
    held = alarms(tmp_path, events)
    held.check(forecast(9.0, 9.0, 0.0, 0.0))
    assert events == []  # 1/3 < 0.4, whatever their mean is
    held.check(forecast(0.0, 9.0, 6.0, 0.0))
    held.check(forecast(0.0, 4.5, 0.0, 0.0))  # 1/3 reach 4 mm/h: more than 0.8 * 0.4
    held.check(forecast(0.0, 3.5, 0.0, 0.0))
    assert [(one["event"], one["probability"]) for one in events] == [
        ("raised", 0.667),
        ("cleared", 0.0),
    ]


def test_no_data_changes_nothing(tmp_path: Path):
    events: list[dict[str, Any]] = []
    held = alarms(tmp_path, events)
    held.check(forecast(9.0))
    dry = forecast(0.0)
    held.check(replace(dry, mask=np.zeros_like(dry.mask)))
    assert [event["event"] for event in events] == ["raised"]


def test_a_service_that_starts_again_raises_no_alarm_twice(tmp_path: Path):
    events: list[dict[str, Any]] = []
    alarms(tmp_path, events).check(forecast(9.0))
    file = tmp_path / "alarms.jsonl"
    file.write_text(file.read_text() + '{"event": "cle')  # killed, or out of disk
    again = alarms(tmp_path, events)
    again.check(forecast(9.0))
    again.check(forecast(0.0))
    assert [event["event"] for event in events] == ["raised", "cleared"]
    assert json.loads(file.read_text().splitlines()[-1]) == events[-1]


def test_a_file_that_cannot_be_written_is_written_later(tmp_path: Path):
    events: list[dict[str, Any]] = []
    said: list[str] = []
    out = tmp_path / "out"
    out.write_text("in the way")
    held = alarms(out, events, said)
    for rate in (9.0, 0.0):
        held.check(forecast(rate))
    assert len(events) == 2 and len(said) == 1 and "alarms.jsonl" in said[0]
    out.unlink()
    held.write()
    assert len((out / "alarms.jsonl").read_text().splitlines()) == 2


class Hook(BaseHTTPRequestHandler):
    """Answers by the statuses it is given, then 200."""

    statuses: list[int]
    got: list[dict[str, Any]]

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.append(content)
        self.send_response(self.statuses.pop(0) if self.statuses else 200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[str, type[Hook]]]:
    class Own(Hook):
        pass

    Own.statuses, Own.got = [], []
    with HTTPServer(("127.0.0.1", 0), Own) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", Own
        server.shutdown()
        thread.join()


def test_a_webhook_is_tried_again_until_it_takes_an_event(hook: tuple[str, type[Hook]]):
    url, own = hook
    own.statuses[:] = [503, 429]
    said: list[str] = []
    sender = Sender(targets(None, url), said.append, pauses=(0.01, 0.01))
    sender.send({"name": "Mill", "init": "now"})
    sender.close(30.0)
    assert own.got == [{"name": "Mill", "init": "now"}] * 3 and said == []


def test_a_webhook_that_refuses_is_asked_once_and_one_that_fails_a_few_times(
    hook: tuple[str, type[Hook]],
):
    url, own = hook
    own.statuses[:] = [404, 500, 500]
    said: list[str] = []
    sender = Sender(targets(None, url), said.append, pauses=(0.01,))
    for name in ("a", "b", "c"):
        sender.send({"name": name, "init": "now"})
    sender.close(30.0)
    assert [one["name"] for one in own.got] == ["a", "b", "b", "c"]
    assert len(said) == 2 and "404" in said[0] and "alarm b of now: --alarm-webhook" in said[1]


def test_a_command_gets_the_event_on_its_standard_input(tmp_path: Path):
    out = tmp_path / "got.json"
    code = f"import sys; open({str(out)!r}, 'w').write(sys.stdin.read())"
    said: list[str] = []
    sender = Sender(targets(f'"{sys.executable}" -S -c "{code}"', None), said.append)
    sender.send({"name": "Mill", "init": "now"})
    sender.close(60.0)
    assert said == [] and json.loads(out.read_text()) == {"name": "Mill", "init": "now"}
    failing = Sender(targets("/nowhere/at/all", None), said.append)
    failing.send({"name": "Mill", "init": "now"})
    failing.close(30.0)
    assert len(said) == 1 and "not sent" in said[0] and "/nowhere/at/all" in said[0]


def test_what_waits_is_sent_however_a_watch_ends(tmp_path: Path):
    for number in range(4):
        write_frame(tmp_path / "radar", moment(number), rain(number))
    row, column = np.unravel_index(rain(3).argmax(), rain(3).shape)
    got: list[dict[str, Any]] = []

    def slow(event: dict[str, Any]) -> None:
        time.sleep(0.5)
        got.append(event)

    service = Service(
        tmp_path / "radar",
        tmp_path / "out",
        load("persistence"),
        (),
        rules=[Rule("Mill", f"px:{row},{column}", 0.1, 10.0)],
        targets=[("slow", slow)],
    )
    forecasts = service.forecasts(lambda seconds: False, lambda text: None, lambda text: None)
    next(forecasts)
    forecasts.close()  # as an error in what takes the forecasts does
    assert [event["name"] for event in got] == ["Mill"]


def test_receivers_that_cannot_be():
    for given, words in (
        ((None, "ftp://a/b"), "--alarm-webhook: expected http"),
        (('"a', None), "--alarm-command: No closing"),
        ((" ", None), "--alarm-command: expected a command"),
    ):
        with pytest.raises(ConfigError, match=words):
            targets(*given)
