"""How long the program and the package take to start, as whole processes, and what they import."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import ConfigError
from scripts.bench.paired import Pairs, alternate

LATE = ("transformers", "matplotlib", "tensorboard", "cv2")  # nothing may wait for these
EMPTY = "pass"


@dataclass(frozen=True)
class Start:
    """What was timed: a process from its start to its end.

    Args:
        command: what it was.
        pairs: `python -c pass`, and the command beside it.
        imported: those of `LATE` that the command imports.
    """

    command: str
    pairs: Pairs
    imported: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"seconds": float(np.median(self.pairs.other))}


def measure(pairs: int) -> list[Start]:
    """Time `nowcast --help` and `import nowcast`, each in turns with a Python that does nothing.

    Raises:
        ConfigError: the command `nowcast` is not installed beside this Python, or fails.
    """
    commands = {
        "nowcast --help": [str(_script()), "--help"],
        'python -c "import nowcast"': ["-c", "import nowcast"],
    }
    rows = []
    for name, arguments in commands.items():

        def start(arguments: Sequence[str] = arguments) -> object:
            return _python(*arguments)

        times = alternate(lambda: _python("-c", EMPTY), start, pairs)
        rows.append(Start(name, times, imported(*arguments)))
    return rows


def imported(*arguments: str) -> tuple[str, ...]:
    """Those of `LATE` that Python imports when it is called with these arguments.

    Raises:
        ConfigError: it fails.
    """
    told = _python("-X", "importtime", *arguments)
    # import time:       self [us] |   cumulative | package.module
    modules = {line.rpartition("|")[2].strip() for line in told.splitlines() if "|" in line}
    found = {module.partition(".")[0] for module in modules}
    return tuple(name for name in LATE if name in found)


def _script() -> Path:
    script = Path(sys.executable).with_name("nowcast")
    if not script.is_file():
        raise ConfigError(
            f"{script}: expected the program beside its Python, found none; `pip install -e .`"
        )
    return script


def _python(*arguments: str) -> str:
    """What it says on stderr."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            f"python {' '.join(arguments)}: expected status 0, found {done.returncode}:\n"
            f"{done.stderr.strip()}"
        )
    return done.stderr


def table(rows: Sequence[Start]) -> str:
    """One line a command, as Markdown."""
    lines = [
        f"| command | time | `python -c {EMPTY}` beside it | imports of {', '.join(LATE)} |",
        "| --- | ---: | ---: | --- |",
    ]
    for row in rows:
        empty, full = (1000 * np.median(times) for times in (row.pairs.one, row.pairs.other))
        imports = ", ".join(row.imported) or "none"
        lines.append(f"| `{row.command}` | {full:.0f} ms | {empty:.0f} ms | {imports} |")
    return "\n".join(lines)
