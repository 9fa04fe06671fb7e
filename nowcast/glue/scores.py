"""The scores of GLUE, in percent as its leaderboard has them, from sums that merge.

A classification is summed up by its confusion matrix, from which scikit-learn makes F1 (positive
class 1), Matthews correlation and accuracy. A rank correlation is of no sums: there, the sums hold
every prediction at its position in the split. Under a bootstrap, which adds an example up several
times, `seen` says how often.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torch.nn import functional

from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column

PERCENT = 100.0
ERROR = "error"
CORRELATIONS = ("matthews", "spearman", "pearson")  # from -100 to 100; the others from 0


@dataclass(frozen=True)
class Metric:
    """One score of a data set.

    Args:
        name: accuracy, f1, matthews, spearman or pearson.
        title: as tables show it.
        main: whether it is what the leaderboard ranks by.
        group: the group of examples it is of, see `TextBatch.groups`.
        suffix: of its name, where there are several groups.
    """

    name: str
    title: str
    main: bool = True
    group: int = 0
    suffix: str = ""

    @property
    def score(self) -> str:
        """Its name among the scores, e.g. ``accuracy/mismatched``."""
        return f"{self.name}/{self.suffix}" if self.suffix else self.name

    def column(self, data_set: str) -> Column:
        """As a column of a table."""
        return Column(
            self.score,
            f"{data_set} {self.title}",
            "more",
            1,
            self.main,
            perfect=PERCENT,
            limits=(-PERCENT if self.name in CORRELATIONS else 0.0, PERCENT),
        )


ACCURACY = Metric("accuracy", "accuracy")
BESIDE = Metric("accuracy", "accuracy", main=False)
METRICS: dict[str, tuple[Metric, ...]] = {
    "mnli": (
        Metric("accuracy", "accuracy (matched)", group=0, suffix="matched"),
        Metric("accuracy", "accuracy (mismatched)", group=1, suffix="mismatched"),
    ),
    "qqp": (Metric("f1", "F1"), BESIDE),
    "mrpc": (Metric("f1", "F1"), BESIDE),
    "cola": (Metric("matthews", "Matthews"), BESIDE),
    "sts-b": (Metric("spearman", "Spearman"), Metric("pearson", "Pearson", main=False)),
    **dict.fromkeys(("sst-2", "qnli", "rte", "wnli"), (ACCURACY,)),
}


def sums_of_classes(
    logits: Tensor, labels: Tensor, groups: NDArray[np.int64], group_count: int
) -> Sums:
    """Confusion matrices ``group, label, prediction`` and summed cross-entropies of a batch.

    Args:
        logits: ``batch classes``.
        labels: ``batch``, classes.
        groups: of each example.
        group_count: how many there are.
    """
    classes = logits.shape[1]
    entropy = functional.cross_entropy(logits.double(), labels, reduction="none").cpu().numpy()
    confusion = np.zeros((group_count, classes, classes), dtype=np.int64)
    np.add.at(confusion, (groups, labels.cpu().numpy(), logits.argmax(1).cpu().numpy()), 1)
    return Sums({"confusion": confusion, "entropy": np.array(entropy.sum(), dtype=np.float64)})


def sums_of_scores(
    predictions: Tensor, labels: Tensor, places: NDArray[np.int64], size: int
) -> Sums:
    """Predictions and labels of a regression, each at its position in the split.

    Args:
        predictions: ``batch``.
        labels: ``batch``.
        places: in the split.
        size: of the split.
    """
    found: dict[str, NDArray[Any]] = {"seen": np.zeros(size, dtype=np.int64)}
    found["seen"][places] = 1
    for name, values in (("prediction", predictions), ("label", labels)):
        found[name] = np.zeros(size)
        found[name][places] = values.double().cpu().numpy()
    return Sums(found)


def read_metrics(sums: Sums, metrics: tuple[Metric, ...]) -> dict[str, float | None]:
    """The metrics in percent, and `error`: 100 less the mean of the main ones that are defined."""
    compute = _of_classes if "confusion" in sums.values else _of_scores
    found = {metric.score: compute(sums, metric) for metric in metrics}
    main = [value for m in metrics if m.main and (value := found[m.score]) is not None]
    return found | {ERROR: PERCENT - float(np.mean(main)) if main else None}


def read(sums: Sums, metrics: tuple[Metric, ...]) -> Scores:
    """Metrics, with the mean cross-entropy or mean squared error, and why one is undefined."""
    values = read_metrics(sums, metrics)
    if "confusion" in sums.values:
        count = int(sums["confusion"].sum())
        values["cross_entropy"] = float(sums["entropy"]) / count if count else None
    else:
        count = int(sums["seen"].sum())
        prediction, label = _repeated(sums)
        values["squared_error"] = float(np.square(prediction - label).mean()) if count else None
    why = {
        metric.score: "no such example"
        if "confusion" in sums.values
        else "all predictions or all labels are the same"
        for metric in metrics
        if values[metric.score] is None
    }
    return Scores(values, support={"examples": count}, why=why)


def _of_classes(sums: Sums, metric: Metric) -> float | None:
    from sklearn import metrics as library

    confusion = sums["confusion"][metric.group]
    if not confusion.any():
        return None
    # Every cell of the matrix as an example, counted as often as it came.
    label, prediction = (axis.ravel() for axis in np.indices(confusion.shape))
    compute: dict[str, Callable[..., float]] = {
        "accuracy": library.accuracy_score,
        "f1": lambda *of, **more: library.f1_score(*of, zero_division=0.0, **more),
        "matthews": library.matthews_corrcoef,
    }
    return PERCENT * float(compute[metric.name](label, prediction, sample_weight=confusion.ravel()))


def _of_scores(sums: Sums, metric: Metric) -> float | None:
    values = _repeated(sums)
    if any(len(each) < 2 or np.ptp(each) == 0 for each in values):
        return None
    compute = {"spearman": stats.spearmanr, "pearson": stats.pearsonr}[metric.name]
    return PERCENT * float(compute(*values).statistic)


def _repeated(sums: Sums) -> tuple[NDArray[np.float64], ...]:
    """Predictions and labels, each as often as it was added up."""
    there = sums["seen"] > 0
    times = sums["seen"][there]
    return tuple(np.repeat(sums[name][there] / times, times) for name in ("prediction", "label"))


def predicted(logits: Tensor) -> Tensor:
    """Class, or score of a regression, of each example of ``batch outputs``."""
    return logits[:, 0] if logits.shape[1] == 1 else torch.argmax(logits, 1)
