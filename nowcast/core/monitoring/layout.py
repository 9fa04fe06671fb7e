"""Which curves TensorBoard draws into one chart: a layout for its Custom Scalars, from the tags."""

import re
from collections.abc import Iterable

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Category,
    Chart,
    Layout,
    MultilineChartContent,
)
from tensorboard.plugins.custom_scalar.metadata import (
    CONFIG_SUMMARY_TAG,
    create_summary_metadata,
)
from tensorboard.util.tensor_util import make_tensor_proto

Charts = dict[str, dict[str, list[str]]]  # category -> chart -> tags

LOSSES = ("training loss", "validation loss")  # side by side
OPEN = ("training", "scores")  # the others are drawn when they are opened


def charts(tags: Iterable[str]) -> Charts:
    """Sort the tags that `RunLog` writes into charts, in their order.

    Losses, rate and the validated objective come first, then the single scores, then a category for
    each family of scores (``valid/family/member``): its members in one chart, and each member along
    the axis (``valid_by_minutes/family/member/5``). MEmeL has a chart a number, with all sites.
    """
    found: Charts = {name: {} for name in OPEN}

    def put(category: str, chart: str, tag: str) -> None:
        found.setdefault(category, {}).setdefault(chart, []).append(tag)

    for tag in tags:
        group, *parts = tag.split("/")
        if tag == "valid/objective":
            put("training", "objective on valid", tag)
        elif tag == "valid/loss":
            put("training", LOSSES[1], tag)
        elif tag == "train/loss":  # in a chart of its own: two tags of a run have one colour
            put("training", LOSSES[0], tag)
        elif group == "train":
            put("training", "/".join(parts), tag)
        elif group == "valid":
            put("scores" if len(parts) == 1 else parts[0], parts[0], tag)
        elif group.startswith("valid_by_"):
            category = "scores" if len(parts) == 2 else parts[0]
            put(category, f"{'/'.join(parts[:-1])} {group[6:].replace('_', ' ')}", tag)
        elif group in ("memel", "throughput"):
            put(group, parts[-1], tag)
    first = {title: found["training"][title] for title in LOSSES if title in found["training"]}
    found["training"] = first | found["training"]
    return {category: content for category, content in found.items() if content}


def layout(arrangement: Charts) -> Summary:
    """The layout as TensorBoard reads it."""
    content = Layout(
        category=[
            Category(
                title=category,
                closed=category not in OPEN,
                chart=[_chart(title, tags) for title, tags in content.items()],
            )
            for category, content in arrangement.items()
        ]
    )
    value = Summary.Value(
        tag=CONFIG_SUMMARY_TAG,
        metadata=create_summary_metadata(),
        tensor=make_tensor_proto(content.SerializeToString()),
    )
    return Summary(value=[value])


def _chart(title: str, tags: list[str]) -> Chart:
    patterns = [f"^{re.escape(tag)}$" for tag in tags]  # a tag must match from its start on
    return Chart(title=title, multiline=MultilineChartContent(tag=patterns))
