"""The language task: BERT fine-tuned on a data set of GLUE, with MEmeL after its middle blocks."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.errors import ConfigError, UnknownForecaster
from nowcast.core.memel.plug import middle_blocks
from nowcast.core.scoring.blocks import block_names, block_of
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column
from nowcast.core.storage.finite import check_answers
from nowcast.core.storage.origin import digest
from nowcast.core.storage.pretrained import weights_hash
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.hints import did_you_mean
from nowcast.core.training.sampling import evaluation_plan, passes
from nowcast.glue import weights
from nowcast.glue.baseline import Majority
from nowcast.glue.benchmark import DATA_SETS, DataSet
from nowcast.glue.data.batch import TextBatch
from nowcast.glue.data.splits import Split, split_of
from nowcast.glue.scores import ERROR, METRICS, read, read_metrics, sums_of_classes, sums_of_scores
from nowcast.glue.settings import DataSettings, GlueSettings

LONG = 32  # tokens


class GlueTask:
    """Implements `Compared` and `Grouped` of `nowcast.core.training.task` for a data set of GLUE.

    Args:
        settings: the whole config of a run.
        reuse: another task; if it reads the same examples, they are shared.

    Raises:
        ConfigError: no data are named, there is no such BERT, or it takes fewer tokens.
    """

    objective = (ERROR,)
    loss_scale = None
    details: tuple[Column, ...]
    reference = "majority"
    features = ("by_label", "by_length")

    def __init__(self, settings: GlueSettings, reuse: "GlueTask | None" = None) -> None:
        self.settings = settings
        data = settings.data
        if data.root is None:
            raise ConfigError(
                "data.root: expected the folder of GLUE's folders, found none; add "
                "data.root=FOLDER (`nowcast data glue FOLDER` shows what is in it)"
            )
        self.root = data.root
        self.data_set = DATA_SETS[data.name]
        self.metrics = METRICS[data.name]
        self.bert = weights.folder_of(settings.model.pretrained)
        title = self.data_set.title
        self.columns = tuple(metric.column(title) for metric in self.metrics)
        last = (
            Column("cross_entropy", "cross-entropy", "less", 3, perfect=0.0, limits=(0.0, None))
            if self.data_set.words
            else Column(
                "squared_error", "squared error", "less", 3, perfect=0.0, limits=(0.0, None)
            )
        )
        self.details = (last,)
        config = weights.config_of(self.bert)
        if data.max_length > config.max_position_embeddings:
            raise ConfigError(
                f"data.max_length: {settings.model.pretrained} has places for "
                f"{config.max_position_embeddings} tokens, found {data.max_length}; take no more"
            )
        self.sites = tuple(
            f"bert.encoder.layer.{block}" for block in middle_blocks(config.num_hidden_layers)
        )
        shared = reuse is not None and reuse.settings.data == data and reuse.bert == self.bert
        self._splits: dict[str, Split] = reuse._splits if reuse is not None and shared else {}

    @staticmethod
    def mask(_: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor | None:
        """Where there are tokens and no padding, of a call of the model."""
        found: Tensor | None = named.get("attention_mask")
        return found

    def split(self, name: str) -> Split:
        """The examples of a split: train, valid or test."""
        if name not in self._splits:
            self._splits[name] = split_of(self.root, self.data_set, name, self.bert, self._data)
        return self._splits[name]

    def submission(self, data_set: DataSet) -> Split:
        """The test files of this data set or another, as this one's model is to see them."""
        return split_of(self.root, data_set, "submission", self.bert, self._data)

    def model(self) -> nn.Module:
        """The pretrained BERT with a fresh head."""
        return weights.classifier(self.bert, self.outputs)

    @property
    def outputs(self) -> int:
        """Classes, or 1 of a regression."""
        return len(self.data_set.words or (None,))

    def baseline(self, name: str) -> nn.Module:
        """``majority``: always the commonest class of the training split, or its mean score."""
        if name != self.reference:
            raise UnknownForecaster(
                f"expected a run folder or the baseline {self.reference}, found {name!r}"
                f"{did_you_mean(name, [self.reference])}"
            )
        return Majority(self.split("train").labels(), self.outputs)

    def dry_run(self, model: nn.Module) -> object:
        """Pass one example of the greatest length through a model."""
        device = next(model.parameters()).device
        tokens = torch.zeros(1, self._data.max_length, dtype=torch.int64, device=device)
        return model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), token_type_ids=tokens
        )

    def epoch(self) -> int:
        """Examples of the training split."""
        return len(self.split("train"))

    def samples(self, split: str) -> int:
        """Examples of a split."""
        return len(self.split(split))

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[TextBatch]:
        """Batches of the training split, shuffled anew each time it is passed through."""
        split, train = self.split("train"), self.settings.train
        step = start
        while True:
            rows = passes(train.seed, step, train.batch_size, len(split))
            yield split.batch(rows[ranks.rank :: ranks.size], self.length)
            step += 1

    def evaluation_batches(self, split: str, ranks: Ranks) -> Iterator[TextBatch]:
        """Batches of a split in the order of its files."""
        examples = self.split(split)
        size = max(1, self.settings.train.batch_size // ranks.size)
        for places in evaluation_plan(len(examples), size, ranks):
            yield examples.batch(places, self.length)

    def loss(self, model: nn.Module, batch: TextBatch) -> Tensor:
        """Cross-entropy, or the squared error of a regression."""
        logits, labels = self.logits(model, batch), self._labels(batch)
        if self.data_set.words is None:
            return functional.mse_loss(logits[:, 0], labels.float())
        return functional.cross_entropy(logits, labels)

    def score(self, model: nn.Module, batch: TextBatch) -> Sums:
        """Confusion matrix, or predictions of a regression, of the batch."""
        logits, labels = self.logits(model, batch), self._labels(batch)
        check_answers(logits, batch.rows)
        if self.data_set.words is None:
            return sums_of_scores(logits[:, 0], labels, batch.places, batch.of)
        return sums_of_classes(logits, labels, batch.groups, len(self.data_set.parts_of("dev")))

    verify = score

    def read(self, sums: Sums) -> Scores:
        """The metrics of the data set in percent."""
        return read(sums, self.metrics)

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        """The metrics alone."""
        return read_metrics(sums, self.metrics)

    def blocks(self, split: str, batch: TextBatch) -> list[str]:
        """The hundredth of the split that each example lies in."""
        return block_of(batch.places.tolist(), len(self.split(split)))

    def block_names(self, split: str) -> list[str]:
        """All hundredths of a split, or fewer of one with fewer examples."""
        return block_names(len(self.split(split)))

    def data_hash(self) -> str:
        """Of the files as they are read and of the pretrained BERT."""
        splits = [self.split(name).hash for name in ("train", "valid")]
        return digest([*splits, weights_hash(self.bert)])

    def facts(self, split: str) -> Mapping[str, Any]:
        """Which examples of which data set."""
        examples, data = self.split(split), self._data
        return {
            "examples": len(examples),
            "data": self.data_set.title,
            "split": split,
            "files": ", ".join(file.part for file in examples.files),
            "left_out": examples.left_out,
            "blocks": len(self.block_names(split)),
            "examples_hash": examples.hash,
            "root": str(self.root),
            "max_length": data.max_length,
            "pretrained": self.settings.model.pretrained,
            "pretrained_hash": weights_hash(self.bert),
        }

    def describe(self, split: str) -> str:
        """How many examples of which data set."""
        facts = self.facts(split)
        return (
            f"{facts['examples']} examples of {facts['data']}, {split} split ({facts['files']}), "
            f"of at most {facts['max_length']} tokens"
        )

    def groups(self, feature: str, batch: TextBatch) -> list[str]:
        """The label of each example, or whether it is long."""
        kinds: dict[str, Callable[[], list[str]]] = {
            "by_label": lambda: self._words(self._labels(batch)),
            "by_length": lambda: [
                "long" if count > LONG else "short" for count in batch.present.sum(1).tolist()
            ],
        }
        if feature not in kinds:
            raise ConfigError(f"expected one of {', '.join(kinds)}, found {feature!r}")
        return kinds[feature]()

    def _words(self, labels: Tensor) -> list[str]:
        words = self.data_set.words
        if words is None:
            return [f"{int(min(score, 4.99))}-{int(min(score, 4.99)) + 1}" for score in labels]
        return [words[label] for label in labels.tolist()]

    @property
    def _data(self) -> DataSettings:
        return self.settings.data

    @property
    def length(self) -> int | None:
        """Tokens that examples are padded to; None for those of the longest of a batch."""
        return self._data.max_length if self._data.padding == "max_length" else None

    @staticmethod
    def logits(model: nn.Module, batch: TextBatch) -> Tensor:
        """What a model answers, ``batch outputs`` in float32."""
        found: Tensor = model(**batch.inputs()).logits
        return found.float()

    @staticmethod
    def _labels(batch: TextBatch) -> Tensor:
        assert batch.labels is not None, "a split without labels is neither trained nor scored on"
        return batch.labels
