"""Scores from sums are those of scikit-learn and scipy from labels and predictions."""

from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics

from nowcast.core.scoring.sums import Sums
from nowcast.glue.scores import (
    METRICS,
    predicted,
    read,
    read_metrics,
    sums_of_classes,
    sums_of_scores,
)

RNG = np.random.default_rng(0)
PARTS = ([0, 1, 2], list(range(3, 40)), list(range(40, 157)))


def classes(count: int, seed: int, size: int = 157) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are right more often than not, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(count, (size,), generator=generator)
    logits = torch.randn(size, count, generator=generator)
    return logits + torch.nn.functional.one_hot(labels, count), labels


def summed(logits: torch.Tensor, labels: torch.Tensor, groups: np.ndarray, count: int) -> Sums:
    """In several batches."""
    parts = [sums_of_classes(logits[p], labels[p], groups[p], count) for p in PARTS]
    return reduce(add, parts)


@pytest.mark.parametrize("seed", range(3))
def test_classification_equals_scikit_learn(seed: int):
    logits, labels = classes(2, seed)
    groups, guess = np.zeros(157, dtype=np.int64), logits.argmax(1)
    sums = summed(logits, labels, groups, 1)
    cola, mrpc = read_metrics(sums, METRICS["cola"]), read_metrics(sums, METRICS["mrpc"])
    assert cola["matthews"] == pytest.approx(100 * metrics.matthews_corrcoef(labels, guess))
    assert mrpc["f1"] == pytest.approx(100 * metrics.f1_score(labels, guess))
    accuracy = 100 * metrics.accuracy_score(labels, guess)
    assert cola["accuracy"] == mrpc["accuracy"] == pytest.approx(accuracy)
    assert cola["error"] == pytest.approx(100 - cola["matthews"])  # the accuracy is only beside it
    entropy = torch.nn.functional.cross_entropy(logits.double(), labels)
    assert read(sums, METRICS["cola"]).values["cross_entropy"] == pytest.approx(float(entropy))


def test_mnli_scores_each_of_its_files():
    logits, labels = classes(3, 5)
    groups = np.arange(157) % 2
    found = read(summed(logits, labels, groups, 2), METRICS["mnli"])
    right = (logits.argmax(1) == labels).numpy()
    matched, mismatched = (100 * right[groups == group].mean() for group in (0, 1))
    assert found.values["accuracy/matched"] == pytest.approx(matched)
    assert found.values["accuracy/mismatched"] == pytest.approx(mismatched)
    assert found.values["error"] == pytest.approx(100 - (matched + mismatched) / 2)
    alone = read(summed(logits, labels, np.zeros(157, dtype=np.int64), 2), METRICS["mnli"])
    assert alone.values["accuracy/mismatched"] is None
    assert alone.why == {"accuracy/mismatched": "no such example"}


def test_rank_correlation_equals_scipy_with_ties():
    labels = torch.from_numpy(np.round(RNG.uniform(0, 5, 157) * 2) / 2)
    guess = (labels + torch.from_numpy(RNG.normal(size=157))).float()
    order = RNG.permutation(157)
    parts = [sums_of_scores(guess[order[p]], labels[order[p]], order[p], 157) for p in PARTS]
    found = read(reduce(add, parts), METRICS["sts-b"]).values
    assert found["spearman"] == pytest.approx(100 * stats.spearmanr(guess, labels).statistic)
    assert found["pearson"] == pytest.approx(100 * stats.pearsonr(guess.double(), labels).statistic)
    assert found["squared_error"] == pytest.approx(float((guess - labels).double().square().mean()))
    assert found["error"] == pytest.approx(100 - found["spearman"])


def test_what_a_bootstrap_draws_twice_counts_twice():
    labels = torch.tensor([0.0, 1.0, 2.5, 4.0, 5.0])
    guess = torch.tensor([0.3, 0.1, 3.0, 2.0, 4.0])
    parts = [sums_of_scores(guess[[i]], labels[[i]], np.array([i]), 5) for i in (0, 1, 1, 3, 3, 3)]
    again = [0, 1, 1, 3, 3, 3]
    found = read(reduce(add, parts), METRICS["sts-b"])
    expected = 100 * stats.spearmanr(guess[again], labels[again]).statistic
    assert found.values["spearman"] == pytest.approx(expected)
    error = float((guess - labels)[again].double().square().mean())
    assert found.values["squared_error"] == pytest.approx(error)
    assert found.support["examples"] == 6


def test_answers_that_are_all_the_same_have_no_correlation_and_an_mcc_of_zero():
    places = np.arange(3)
    same = sums_of_scores(torch.ones(3), torch.tensor([1.0, 2.0, 3.0]), places, 3)
    found = read(same, METRICS["sts-b"])
    assert found.values["spearman"] is None and found.values["error"] is None
    assert "the same" in found.why["spearman"]
    logits, labels = torch.tensor([[1.0, 0.0]]).expand(4, 2), torch.tensor([0, 1, 1, 0])
    sums = sums_of_classes(logits, labels, np.zeros(4, dtype=np.int64), 1)
    assert read_metrics(sums, METRICS["cola"])["matthews"] == 0
    assert read_metrics(sums, METRICS["qqp"])["f1"] == 0


def test_an_answer_is_a_class_or_a_score():
    assert predicted(torch.tensor([[0.1, 0.9], [3.0, 2.0]])).tolist() == [1, 0]
    assert predicted(torch.tensor([[2.5], [4.0]])).tolist() == [2.5, 4.0]
