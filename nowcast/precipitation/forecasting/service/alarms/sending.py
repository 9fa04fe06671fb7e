"""Events on their way to a command or a webhook, beside the forecasts and never before them."""

import json
import queue
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasting.products.outlet import Say

MOST_WAITING = 1000
COMMAND_SECONDS = 60.0
WEBHOOK_SECONDS = 10.0
PAUSES_SECONDS = (1.0, 4.0, 15.0, 60.0)  # before each further try
CLOSING_SECONDS = 10.0  # for events that are still to be sent
FINAL = range(400, 500)  # HTTP: asking again changes nothing, but for these
AGAIN = (408, 425, 429)

Event = dict[str, Any]
Target = Callable[[Event], None]


class Refused(Exception):
    """A target that will not take an event, however often it is asked."""


def command(text: str) -> Target:
    """A command that gets each event as a line of JSON on its standard input.

    Raises:
        ConfigError: its quotes do not match, or there is none.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--alarm-command: {error}, found {text!r}") from error
    if not words:
        raise ConfigError("--alarm-command: expected a command, found none")

    def run(event: Event) -> None:
        line = json.dumps(event) + "\n"
        done = subprocess.run(
            words, input=line, text=True, capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
            raise Refused(f"exit status {done.returncode}: {said[0]}")

    return run


def webhook(url: str) -> Target:
    """A URL that gets each event by POST, as JSON; status 4xx is final, all else is tried again.

    Raises:
        ConfigError: it is no http:// or https:// URL.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ConfigError(f"--alarm-webhook: expected http://... or https://..., found {url!r}")

    def post(event: Event) -> None:
        request = urllib.request.Request(
            url, json.dumps(event).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in FINAL and error.code not in AGAIN:
                raise Refused(str(error)) from error
            raise

    return post


class Sender:
    """Hands events to targets in a thread of its own, each with some tries.

    Args:
        targets: name in messages -> what takes an event.
        say: tells the user what could not be sent.
        pauses: seconds before each further try.
    """

    def __init__(
        self,
        targets: Sequence[tuple[str, Target]],
        say: Say,
        pauses: Sequence[float] = PAUSES_SECONDS,
    ) -> None:
        self._say = say
        self._pauses = pauses
        self._stopping = threading.Event()
        self._queues: list[queue.Queue[Event | None]] = []
        self._threads = []
        for name, target in targets:  # one that hangs holds up no other
            events: queue.Queue[Event | None] = queue.Queue(MOST_WAITING)
            thread = threading.Thread(target=self._run, args=(name, target, events), daemon=True)
            thread.start()
            self._queues.append(events)
            self._threads.append(thread)

    def send(self, event: Event) -> None:
        """Take an event on; it is on its way when this returns."""
        for events in self._queues:
            try:
                events.put_nowait(event)
            except queue.Full:
                self._say(f"alarm {event['name']}: not sent, {MOST_WAITING} others wait")

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Send what waits, for at most so many seconds."""
        for events in self._queues:
            with suppress(queue.Full):
                events.put_nowait(None)
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._stopping.set()

    def _run(self, name: str, target: Target, events: "queue.Queue[Event | None]") -> None:
        while (event := events.get()) is not None and not self._stopping.is_set():
            reason = self._tried(target, event)
            if reason is not None:
                self._say(f"alarm {event['name']} of {event['init']}: {name}: not sent: {reason}")

    def _tried(self, target: Target, event: Event) -> str | None:
        """None once a target has taken an event; otherwise why not."""
        for pause in (*self._pauses, None):
            try:
                target(event)
                return None
            except (Refused, FileNotFoundError, PermissionError) as error:
                return str(error)
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                reason = str(error)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
            if pause is None or self._stopping.wait(pause):
                break
        return reason


def targets(command_text: str | None, url: str | None) -> list[tuple[str, Target]]:
    """What events go to, with names for messages; raises ConfigError as `command`, `webhook`."""
    found: list[tuple[str, Target]] = []
    if command_text is not None:
        found.append(("--alarm-command", command(command_text)))
    if url is not None:
        found.append(("--alarm-webhook", webhook(url)))
    return found
