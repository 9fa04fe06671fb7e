"""Top-1 and top-5 accuracy in percent, from counts that merge."""

import numpy as np
from torch import Tensor
from torch.nn import functional

from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column

PERCENT = 100.0
ERROR = "error"
COLUMNS = (
    Column("top1", "top-1", "more", 2, perfect=PERCENT, limits=(0.0, PERCENT)),
    Column("top5", "top-5", "more", 2, main=False, perfect=PERCENT, limits=(0.0, PERCENT)),
)
DETAILS = (Column("cross_entropy", "cross-entropy", "less", 4, perfect=0.0, limits=(0.0, None)),)


def sums_of(logits: Tensor, labels: Tensor) -> Sums:
    """Counts of a batch.

    Args:
        logits: ``batch classes``.
        labels: ``batch``.
    """
    classes = logits.shape[1]
    best = logits.topk(min(5, classes), dim=1).indices
    hits = (best == labels[:, None]).cpu().numpy()
    entropy = functional.cross_entropy(logits.double(), labels, reduction="sum")
    return Sums(
        {
            "images": np.array(len(labels)),
            "top1": np.array(hits[:, 0].sum()),
            # Of fewer than six classes every guess is among the first five: that says nothing.
            "top5": np.array(hits.sum() if classes > 5 else 0),
            "of_top5": np.array(len(labels) if classes > 5 else 0),
            "entropy": np.array(float(entropy)),
        }
    )


def read_columns(sums: Sums) -> dict[str, float | None]:
    """Accuracies, and `error`: 100 less top-1."""
    top1 = _share(sums, "top1", "images")
    error = None if top1 is None else PERCENT - top1
    return {"top1": top1, "top5": _share(sums, "top5", "of_top5"), ERROR: error}


def read(sums: Sums) -> Scores:
    """The same with the mean cross-entropy, and why one is undefined."""
    values, count = read_columns(sums), int(sums["images"])
    values["cross_entropy"] = float(sums["entropy"]) / count if count else None
    why = {} if values["top5"] is not None else {"top5": "fewer than 6 classes"}
    return Scores(values, support={"images": count}, why=why)


def _share(sums: Sums, hits: str, of: str) -> float | None:
    count = float(sums[of])
    return PERCENT * float(sums[hits]) / count if count else None
