"""Where a run comes from: hashes of its config, code and data, so that runs are never mixed up."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from nowcast import __version__
from nowcast.core.errors import ConfigError
from nowcast.core.storage.fingerprint import READERS, significant

FORMAT = 1  # of run folders; raised when an older nowcast would misread a newer one's
CODE_OF = "syntax"  # what of the code is hashed; before 2026-11-30 it was every byte
DIGITS = 12  # of a hash: 48 bits, and short enough for a table


@dataclass(frozen=True)
class Origin:
    """What a run was made from.

    Args:
        version: of nowcast.
        code: hash of its source files, as far as they can change a result.
        data: hash of the samples, `Task.data_hash`.
        config: hash of the resolved config, as far as it can change a result.
        parent: key of the run that it starts from; None from scratch.
        torch: its version.
        python: its version.
        format: of the run folder.
        code_of: by which rule the code was hashed.
    """

    version: str
    code: str
    data: str
    config: str
    parent: str | None
    torch: str = torch.__version__
    python: str = platform.python_version()
    format: int = FORMAT
    code_of: str = CODE_OF

    @property
    def key(self) -> str:
        """One hash of config, code, data and parent: equal keys, equal runs."""
        return digest([self.config, self.code, self.data, self.parent])

    def document(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"key": self.key} | asdict(self)


def origin(config: Mapping[str, Any], data: str, parent: str | None) -> Origin:
    """The origin of a run that this process makes.

    Args:
        config: the resolved config without incidental keys.
        data: hash of the samples.
        parent: key of the run that it starts from.
    """
    return Origin(__version__, code_hash(), data, digest(config), parent)


def digest(content: object) -> str:
    """A short hash of plain values; the order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


@cache
def code_hash() -> str:
    """Hash of the package's source files, as far as they can change a result (`fingerprint`)."""
    return hash_of_sources(Path(__file__).parents[2])


def hash_of_sources(root: Path) -> str:
    """As `code_hash`, of any folder of sources."""
    total = hashlib.sha256()
    for path in sorted(path for suffix in READERS for path in root.rglob(f"*{suffix}")):
        name = path.relative_to(root).as_posix()
        total.update(f"{name}\0{significant(path)}\0".encode())
    return total.hexdigest()[:DIGITS]


def check_format(folder: Path, found: Mapping[str, Any]) -> None:
    """Refuse a run folder written in a newer format.

    Args:
        folder: of the run, for the message.
        found: what its ``origin.json`` says.

    Raises:
        ConfigError: it is of a newer format.
    """
    if int(found.get("format", 0)) > FORMAT:
        raise ConfigError(
            f"{folder}: written by nowcast {found.get('version')} in format {found['format']}; "
            f"this is nowcast {__version__}, which reads formats up to {FORMAT}. Update "
            "nowcast, or choose another folder"
        )
