"""What every answer is kept to: reading only, so many and so large requests, safe headers."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_ADDRESS = 1000  # characters
MOST_CLIENTS = 10_000  # that are remembered

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass
class Guard:
    """Stands before an application.

    Args:
        app: answers what is let through.
        rate: requests a second that an address may make in the long run.
        burst: requests that it may make at once.
        clock: seconds that never jump.
    """

    app: Application
    rate: float = 100.0
    burst: float = 500.0
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)  # requests, and since when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        refused = self._refusal(scope)
        if refused is None:
            await self.app(scope, receive, guarded)
            return
        status, text, extra = refused
        headers = [(b"content-type", b"text/plain"), *extra]
        await guarded({"type": "http.response.start", "status": status, "headers": headers})
        await guarded({"type": "http.response.body", "body": text.encode()})

    def _refusal(self, scope: Scope) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        """Status, reason and headers, where a request is not let through."""
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "expected GET: nothing can be changed here", [(b"allow", b"GET, HEAD")]
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_ADDRESS:
            return 414, f"expected an address of at most {LONGEST_ADDRESS} characters", []
        given = dict(scope["headers"])
        if given.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in given:
            return 413, "expected a request without content", [(b"connection", b"close")]
        client = (scope.get("client") or ("",))[0]
        if not self._admitted(client):
            return (
                429,
                f"expected at most {self.rate:g} requests a second",
                [(b"retry-after", b"1")],
            )
        return None

    def _admitted(self, client: str) -> bool:
        now = self.clock()
        left, since = self._left.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        admitted = left >= 1
        self._left[client] = (left - admitted, now)
        if len(self._left) > MOST_CLIENTS:
            del self._left[next(iter(self._left))]  # who has not asked for longest
        return admitted
