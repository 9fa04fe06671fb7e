"""Which curves TensorBoard draws into one chart: a layout for its Custom Scalars, from the tags."""

import re
from collections.abc import Iterable

from tensorboard.compat.proto.summary_pb2 import Summary

Charts = dict[str, dict[str, list[str]]]  # category -> chart -> tags

LOSSES = ("training loss", "validation loss")  # side by side


def charts(tags: Iterable[str]) -> Charts:
    """Sort the tags that `RunLog` writes into charts, in their order.

    Losses, rate and the validated objective come first, then the single scores, then a category for
    each family of scores (``valid/family/member``): its members in one chart, and each member along
    the axis (``valid_by_minutes/family/member/5``). MEmeL and monosemanticity have a chart a
    number, with all sites.
    """
    arranged: Charts = {"training": {}, "scores": {}}

    def put(category: str, chart: str, tag: str) -> None:
        arranged.setdefault(category, {}).setdefault(chart, []).append(tag)

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
        elif group in ("memel", "monosemanticity", "throughput"):
            put(group, parts[-1], tag)
    first = {
        title: arranged["training"][title] for title in LOSSES if title in arranged["training"]
    }
    arranged["training"] = first | arranged["training"]
    return {category: content for category, content in arranged.items() if content}


def layout(arrangement: Charts) -> Summary:
    """The layout as TensorBoard reads it."""
    from torch.utils.tensorboard.summary import custom_scalars

    return custom_scalars(  # type: ignore[no-untyped-call]
        {
            category: {title: ("Multiline", _patterns(tags)) for title, tags in content.items()}
            for category, content in arrangement.items()
        }
    )


def _patterns(tags: list[str]) -> list[str]:
    return [f"^{re.escape(tag)}$" for tag in tags]  # TensorBoard matches the start of a tag
