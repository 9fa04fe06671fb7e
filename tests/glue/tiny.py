"""A BERT of four narrow blocks with random weights, and words that it can learn to tell apart."""

from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from nowcast.glue.settings import GlueSettings

GOOD, BAD = ("good", "fine", "warm"), ("bad", "dull", "cold")
OTHERS = tuple(f"w{number}" for number in range(20))
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *OTHERS)
MAX_LENGTH = 24


def write_bert(folder: Path, blocks: int = 4) -> Path:
    """A folder as Hugging Face's: config, weights and vocabulary."""
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    generator = torch.get_rng_state()
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    torch.set_rng_state(generator)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return folder


def write_glue(root: Path, train: int = 64, dev: int = 21, test: int = 9) -> Path:
    """SST-2, RTE, STS-B and MNLI, whose label is whether, or how often, words are good."""
    rng = np.random.default_rng(0)

    def sentence(good: bool) -> str:
        words = list(rng.choice(OTHERS, rng.integers(2, 8)))
        words.insert(int(rng.integers(len(words))), str(rng.choice(GOOD if good else BAD)))
        return " ".join(words)

    def table(path: Path, header: str, rows: list[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *rows]) + "\n")

    for part, count in {"train": train, "dev": dev}.items():
        labels = rng.integers(0, 2, count).tolist()
        pairs = [(sentence(bool(label)), sentence(True)) for label in labels]
        numbered = list(enumerate(zip(pairs, labels, strict=True)))
        words = ("not_entailment", "entailment")
        table(
            root / "SST-2" / f"{part}.tsv",
            "sentence\tlabel",
            [f"{one}\t{label}" for _, ((one, _), label) in numbered],
        )
        table(
            root / "RTE" / f"{part}.tsv",
            "index\tsentence1\tsentence2\tlabel",
            [f"{n}\t{one}\t{two}\t{words[label]}" for n, ((one, two), label) in numbered],
        )
        table(
            root / "STS-B" / f"{part}.tsv",
            "index\tsentence1\tsentence2\tscore",
            [
                f"{n}\t{one}\t{two}\t{1 + 3 * label + n % 5 / 5}"
                for n, ((one, two), label) in numbered
            ],
        )
        for file in (part,) if part == "train" else ("dev_matched", "dev_mismatched"):
            table(
                root / "MNLI" / f"{file}.tsv",
                "index\tsentence1\tsentence2\tlabel1\tgold_label",
                [
                    f"{n}\t{one}\t{two}\tx\t{('contradiction', 'entailment')[label]}"
                    for n, ((one, two), label) in numbered
                ],
            )
    ones = [sentence(bool(number % 2)) for number in range(test)]
    table(root / "SST-2" / "test.tsv", "index\tsentence", [f"{n}\t{s}" for n, s in enumerate(ones)])
    paired = [f"{n}\t{s}\t{s}" for n, s in enumerate(ones)]
    for file in ("RTE/test", "STS-B/test", "MNLI/test_matched", "MNLI/test_mismatched", "AX/AX"):
        table(root / f"{file}.tsv", "index\tsentence1\tsentence2", paired)
    return root


def settings(root: Path, bert: Path, **changes: object) -> GlueSettings:
    """Of a short run on SST-2; `changes` are sections."""
    content: dict[str, object] = {
        "task": "glue",
        "data": {"name": "sst-2", "max_length": MAX_LENGTH},
        "train": {"epochs": 3, "batch_size": 8, "validate_every": None, "log_every": 4},
        "optim": {"name": "adamw", "lr": 3e-3, "schedule": "linear", "warm_up": 0.1},
    }
    for name, section in changes.items():
        old = content.get(name)
        content[name] = (
            {**old, **section} if isinstance(old, dict) and isinstance(section, dict) else section
        )
    content["data"] = {"root": str(root), "cache": str(root / "cache"), **content["data"]}  # type: ignore[dict-item]
    content["model"] = {"pretrained": str(bert), **content.get("model", {})}  # type: ignore[dict-item]
    return GlueSettings.model_validate(content)
