"""What TensorBoard has of a folder once it has read its event files."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as PluginEventAccumulator,
)

Points = dict[str, list[tuple[int, bytes]]]


def loaded(folder: Path) -> EventAccumulator:
    """The events by kind, all of them."""
    everything = {"scalars": 0, "images": 0, "histograms": 0}
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def watching(folder: Path) -> PluginEventAccumulator:
    """What TensorBoard's server keeps of a run; `Reload` reads on."""
    return PluginEventAccumulator(str(folder), size_guidance={"tensors": 0})


def points(board: PluginEventAccumulator) -> Points:
    """Steps and values by tag, but for timings."""
    board.Reload()
    return {
        tag: [(e.step, e.tensor_proto.SerializeToString()) for e in board.Tensors(tag)]
        for tag in sorted(board.Tags()["tensors"])
        if not tag.startswith("throughput/")
    }
