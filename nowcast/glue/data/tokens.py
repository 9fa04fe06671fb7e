"""Examples as tokens, made once and kept: in a cache folder, one safetensors file a part.

A file is named by what it was made of, so another file, tokenizer or length makes another one.
"""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nowcast.core.storage.cache import cache_folder
from nowcast.core.storage.files import write_whole
from nowcast.core.storage.origin import digest
from nowcast.glue.benchmark import DataSet, Part
from nowcast.glue.data.examples import Examples, file_of, read_examples
from nowcast.glue.weights import tokenizer_hash, tokenizer_of

FORMAT = 1  # one more where the same text would become other tokens
CHECKSUM = "sha256"  # of all arrays, in a file's metadata

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Tokens:
    """The examples of one part of a data set.

    Args:
        part: e.g. ``dev``.
        tokens: of all examples, one after the other.
        kinds: of each token: 0 for the first sentence, 1 for the second.
        ends: where each example's tokens end.
        labels: class or score; None where they are hidden.
        index: what the leaderboard calls each example.
        left_out: rows of the file that hold no example.
        hash: of the files and of what made tokens of them.
    """

    part: Part
    tokens: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    ends: NDArray[np.int64]
    labels: NDArray[np.int64] | NDArray[np.float64] | None
    index: NDArray[np.int64]
    left_out: int
    hash: str

    def __len__(self) -> int:
        return len(self.ends)

    def example(self, row: int) -> "Example":
        """One of them."""
        of = slice(self.ends[row - 1] if row else 0, self.ends[row])
        label = None if self.labels is None else self.labels[row].item()
        return Example(self.tokens[of], self.kinds[of], label, f"{self.part} {row}")


class Example(NamedTuple):
    """One example: its tokens, their kinds, class or score, and what it is called."""

    tokens: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    label: int | float | None
    name: str


def tokenised(
    root: Path,
    data_set: DataSet,
    part: Part,
    bert: Path,
    max_length: int,
    cache: Path | None = None,
) -> Tokens:
    """The tokens of a part, from the cache if they are in it.

    Args:
        root: folder of GLUE's folders.
        data_set: one of them.
        part: of it, see `DataSet.parts`.
        bert: folder of the pretrained BERT, whose tokenizer is used.
        max_length: tokens of an example at most, [CLS] and [SEP] among them; the longer of two
            sentences is shortened first.
        cache: folder; None is nowcast/glue in the user's.

    Raises:
        DataError: a file is not as GLUE distributes it.
    """
    made_of = [FORMAT, data_set.name, part, max_length, tokenizer_hash(bert)]
    key = digest([*made_of, *(_file_hash(path) for path in file_of(root, data_set, part))])
    folder = cache or cache_folder("glue")
    name = f"{data_set.name}_{part}_{key}.safetensors"

    def make() -> Arrays:
        return _tokens(read_examples(root, data_set, part), bert, max_length)

    arrays = make() if folder is None else _kept(folder / name, make)
    left_out = int(arrays.pop("left_out"))
    return Tokens(
        part=part, labels=arrays.pop("labels", None), left_out=left_out, hash=key, **arrays
    )


def _kept(path: Path, make: Callable[[], Arrays]) -> Arrays:
    """What a file of the cache holds, made and kept first where it does not."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The first of several processes does it.
            stack.enter_context(FileLock(path.with_suffix(".lock")))
        except (OSError, NotImplementedError):
            pass  # no cache to write to; it may still be read
        found = _read(path)
        if found is None:
            found = make()
            with suppress(OSError):
                write_whole(path, partial(_write, found), SafetensorError)
    return found


def _tokens(examples: Examples, bert: Path, max_length: int) -> Arrays:
    """The arrays of `Tokens`, by name."""
    tokenizer = tokenizer_of(bert)
    made = tokenizer(
        list(examples.first),
        None if examples.second is None else list(examples.second),
        truncation="longest_first",
        max_length=max_length,
        padding=False,
        return_token_type_ids=True,
        return_attention_mask=False,
    )
    counts = [len(ids) for ids in made["input_ids"]]
    arrays: Arrays = {
        "tokens": np.fromiter(chain.from_iterable(made["input_ids"]), np.int32, sum(counts)),
        "kinds": np.fromiter(chain.from_iterable(made["token_type_ids"]), np.uint8, sum(counts)),
        "ends": np.cumsum(counts, dtype=np.int64),
        "index": np.array(examples.index, dtype=np.int64),
        "left_out": np.array(len(examples.left_out)),
    }
    if examples.labels is not None:
        arrays["labels"] = np.asarray(examples.labels)
    return arrays


def _read(path: Path) -> Arrays | None:
    """What a file of the cache holds; None where there is none that is whole."""
    try:
        with safe_open(path, framework="numpy") as file:
            found: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            is_whole = file.metadata().get(CHECKSUM) == _checksum(found)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if is_whole else None


def _write(arrays: Arrays, path: Path) -> None:
    save_file(arrays, path, {CHECKSUM: _checksum(arrays)})


def _checksum(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
