"""The charts: every tag of the log has one, in the log's order, and matches nothing else."""

import re

from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.util.tensor_util import make_ndarray

from nowcast.core.monitoring.layout import charts, layout

TAGS = [
    "train/loss",
    "train/lr",
    "throughput/samples_per_second",
    "memel/encoder.0.candidate/mean_phi",
    "memel/encoder.1.candidate/mean_phi",
    "valid/error",
    "valid/csi/0.5",
    "valid/csi/10",
    "valid_by_minutes/error/5",
    "valid_by_minutes/csi/0.5/5",
    "valid_by_minutes/csi/0.5/10",
    "valid/objective",
    "valid/loss",
]


def test_tags_are_sorted_into_charts_in_their_order():
    assert list(charts(TAGS)["training"]) == [
        "training loss",
        "validation loss",
        "lr",
        "objective on valid",
    ]
    assert charts([*TAGS, "forecast/a square"]) == {
        "training": {
            "training loss": ["train/loss"],
            "validation loss": ["valid/loss"],
            "lr": ["train/lr"],
            "objective on valid": ["valid/objective"],
        },
        "scores": {"error": ["valid/error"], "error by minutes": ["valid_by_minutes/error/5"]},
        "throughput": {"samples_per_second": ["throughput/samples_per_second"]},
        "memel": {
            "mean_phi": ["memel/encoder.0.candidate/mean_phi", "memel/encoder.1.candidate/mean_phi"]
        },
        "csi": {
            "csi": ["valid/csi/0.5", "valid/csi/10"],
            "csi/0.5 by minutes": ["valid_by_minutes/csi/0.5/5", "valid_by_minutes/csi/0.5/10"],
        },
    }


def test_there_is_no_category_without_charts():
    assert charts(["train/loss"]) == {"training": {"training loss": ["train/loss"]}}
    assert charts([]) == {}


def test_each_pattern_matches_its_own_tag_alone():
    (value,) = layout(charts(TAGS)).value
    assert value.metadata.plugin_data.plugin_name == "custom_scalars"
    read = Layout.FromString(make_ndarray(value.tensor).item())
    patterns = [
        tag for category in read.category for chart in category.chart for tag in chart.multiline.tag
    ]
    assert len(patterns) == len(TAGS)
    others = [tag.replace(".", "x") + "0" for tag in TAGS]  # 0.5 is not 0x5, and 1 is not 10
    for pattern in patterns:
        assert len([tag for tag in TAGS + others if re.match(pattern, tag)]) == 1
