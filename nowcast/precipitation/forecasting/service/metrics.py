"""``health.json`` as Prometheus reads it, for the textfile collector of node_exporter.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

STATES = ("ok", "late", "waiting")
QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}

Samples = list[tuple[str, Any]]  # labels in braces or none, and the value


def metrics_text(health: Mapping[str, Any]) -> str:
    """The text of what `Health.document` holds; what is not known is left out."""
    return "".join(_lines(health))


def _lines(health: Mapping[str, Any]) -> Iterator[str]:
    latencies: Samples = [
        (f'{{quantile="{quantile}"}}', health["latency_seconds"][name])
        for name, quantile in QUANTILES.items()
    ]
    states: Samples = [(f'{{state="{state}"}}', int(health["state"] == state)) for state in STATES]
    rung: Samples = [(f'{{rung="{health["rung"]}"}}', None if health["rung"] is None else 1)]
    missing = sum(gap["frames"] for gap in health["gaps"])
    for name, kind, about, samples in (
        ("state", "gauge", "1 for the state that the service is in.", states),
        (
            "last_frame_timestamp_seconds",
            "gauge",
            "Valid time of the newest frame.",
            [("", _seconds(health["last_frame"]))],
        ),
        (
            "last_forecast_timestamp_seconds",
            "gauge",
            "Init time of the newest forecast.",
            [("", _seconds(health["last_forecast"]))],
        ),
        (
            "made_timestamp_seconds",
            "gauge",
            "When the newest forecast was written.",
            [("", _seconds(health["made_at"]))],
        ),
        ("rung", "gauge", "1 for the rung that made the newest forecast.", rung),
        (
            "latency_seconds",
            "gauge",
            "From a frame's arrival to its forecast, over a day.",
            latencies,
        ),
        ("frames_total", "counter", "Frames that arrived whole.", [("", health["frames"])]),
        ("forecasts_total", "counter", "Forecasts written.", [("", health["forecasts"])]),
        ("missing_frames", "gauge", "Frames missing in the last day.", [("", missing)]),
        ("resident_bytes", "gauge", "Memory of the service.", [("", health["resident_bytes"])]),
        (
            "disk_free_bytes",
            "gauge",
            "Free on the disk of the forecasts.",
            [("", health["disk_free_bytes"])],
        ),
    ):
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            yield f"# HELP nowcast_{name} {about}\n# TYPE nowcast_{name} {kind}\n"
            yield from (f"nowcast_{name}{labels} {value}\n" for labels, value in known)


def _seconds(time: str | None) -> int | None:
    """Seconds since 1970 of a time such as ``2026-11-30T12:00Z``."""
    if time is None:
        return None
    return int(np.datetime64(time.removesuffix("Z"), "s").astype(np.int64))
