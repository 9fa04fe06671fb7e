"""The language task: BERT fine-tuned on a data set of GLUE, with MEmeL after its middle blocks."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.errors import ConfigError
from nowcast.core.memel.plug import middle_blocks
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column
from nowcast.core.storage.finite import check_answers
from nowcast.core.storage.origin import digest
from nowcast.core.storage.pretrained import weights_hash
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.listed import ListedTask, check_baseline
from nowcast.core.training.sampling import passes
from nowcast.glue import weights
from nowcast.glue.baseline import Majority
from nowcast.glue.benchmark import DATA_SETS, DataSet
from nowcast.glue.data.batch import TextBatch
from nowcast.glue.data.splits import Split, split_of
from nowcast.glue.scores import METRICS, read, read_metrics, sums_of_classes, sums_of_scores
from nowcast.glue.settings import DataSettings, GlueSettings

LONG = 32  # tokens


class GlueTask(ListedTask[Split]):
    """Implements `Compared` and `Grouped` of `nowcast.core.training.task` for a data set of GLUE.

    Args:
        settings: the whole config of a run.
        reuse: another task; if it reads the same examples, they are shared.

    Raises:
        ConfigError: no data are named, there is no such BERT, or it takes fewer tokens.
    """

    details: tuple[Column, ...]

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
                f"data.max_length: {settings.model.pretrained} has positions for "
                f"{config.max_position_embeddings} tokens, found {data.max_length}; take no more"
            )
        depth = settings.model.blocks or config.num_hidden_layers
        if depth > config.num_hidden_layers:
            raise ConfigError(
                f"model.blocks: {settings.model.pretrained} has {config.num_hidden_layers} blocks, "
                f"found {depth}; take no more"
            )
        self.sites = tuple(f"bert.encoder.layer.{block}" for block in middle_blocks(depth))
        shared = reuse is not None and reuse.settings.data == data and reuse.bert == self.bert
        super().__init__(settings, reuse if shared else None)
        self.groupings = {
            "by_label": self._by_label,
            "by_length": self._by_length,
            "by_source": self._by_source,
        }

    @staticmethod
    def mask(_: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor | None:
        """Where there are tokens and no padding, of a call of the model."""
        mask: Tensor | None = named.get("attention_mask")
        return mask

    def open_split(self, name: str) -> Split:
        """The examples of a split: train, valid or test."""
        return split_of(self.root, self.data_set, name, self.bert, self._data)

    def data_hash(self) -> str:
        """Of the files as they are read and of the pretrained BERT."""
        splits = (self.split(name).hash for name in ("train", "valid"))
        return digest([*splits, weights_hash(self.bert)])

    def submission(self, data_set: DataSet) -> Split:
        """The test files of this data set or another, as this one's model is to see them."""
        return split_of(self.root, data_set, "submission", self.bert, self._data)

    def model(self) -> nn.Module:
        """The pretrained BERT with a fresh head."""
        return weights.classifier(self.bert, self.outputs, self.settings.model.blocks)

    @property
    def outputs(self) -> int:
        """Classes, or 1 of a regression."""
        return len(self.data_set.words or (None,))

    def baseline(self, name: str) -> nn.Module:
        """``majority``: always the commonest class of the training split, or its mean score."""
        check_baseline(name, (self.reference,))
        return Majority(self.split("train").labels(), self.outputs)

    def dry_run(self, model: nn.Module) -> object:
        """Pass one example of the greatest length through a model."""
        device = next(model.parameters()).device
        tokens = torch.zeros(1, self._data.max_length, dtype=torch.int64, device=device)
        return model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), token_type_ids=tokens
        )

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
        for places in self.evaluation_plan(split, ranks):
            yield self.split(split).batch(places, self.length)

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

    def read(self, sums: Sums) -> Scores:
        """The metrics of the data set in percent."""
        return read(sums, self.metrics)

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        """The metrics alone."""
        return read_metrics(sums, self.metrics)

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

    def _by_label(self, batch: TextBatch) -> list[str]:
        return self._words(self._labels(batch))

    @staticmethod
    def _by_length(batch: TextBatch) -> list[str]:
        counts = batch.present.sum(1).tolist()
        return ["long" if count > LONG else "short" for count in counts]

    @staticmethod
    def _by_source(batch: TextBatch) -> list[str]:
        """The part that an example is of: of MNLI's validation, matched or mismatched."""
        return [row.rpartition(" ")[0] for row in batch.rows]

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
        logits: Tensor = model(**batch.inputs()).logits
        return logits.float()

    @staticmethod
    def _labels(batch: TextBatch) -> Tensor:
        assert batch.labels is not None, "a split without labels is neither trained nor scored on"
        return batch.labels
