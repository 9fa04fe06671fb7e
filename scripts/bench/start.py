"""How long the program and the package take to start, as whole processes, and what they import."""

import subprocess
import sys
from pathlib import Path

from nowcast.core.errors import ConfigError
from scripts.bench.benchmark import Asked, Benchmark, Cells, Row, in_turns, milliseconds, no_note

LATE = ("transformers", "matplotlib", "tensorboard", "cv2")  # nothing may wait for these
EMPTY = ("-c", "pass")


def measure(asked: Asked) -> list[Row]:
    """Time `nowcast --help` and `import nowcast`, each in turns with a Python that does nothing.

    Raises:
        ConfigError: the command `nowcast` is not installed beside this Python, or fails.
    """
    script = Path(sys.executable).with_name("nowcast")
    if not script.is_file():
        raise ConfigError(
            f"{script}: expected the program beside its Python, found none; `pip install -e .`"
        )
    commands = {
        "nowcast --help": (str(script), "--help"),
        'python -c "import nowcast"': ("-c", "import nowcast"),
    }
    rows = []
    for name, arguments in commands.items():
        ways = [lambda each=each: _python(*each) for each in (EMPTY, arguments)]
        (empty, full), _ = in_turns(ways, asked.pairs)
        rows.append(
            {"command": name, "empty": empty, "seconds": full, "imports": imported(*arguments)}
        )
    return rows


def imported(*arguments: str) -> tuple[str, ...]:
    """Those of `LATE` that Python imports when it is called with these arguments.

    Raises:
        ConfigError: it fails.
    """
    lines = _python("-X", "importtime", *arguments).splitlines()
    # import time:       self [us] |   cumulative | package.module
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if "|" in line}
    return tuple(name for name in LATE if name in modules)


def _python(*arguments: str) -> str:
    """What it says on stderr."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            f"python {' '.join(arguments)}: expected status 0, found {done.returncode}:\n"
            f"{done.stderr.strip()}"
        )
    return done.stderr


def cells(row: Row) -> Cells:
    """Of a line."""
    return {
        "command": f"`{row['command']}`",
        "time": f"{milliseconds(row['seconds']):.0f} ms",
        "`python -c pass` beside it": f"{milliseconds(row['empty']):.0f} ms",
        f"imports of {', '.join(LATE)}": ", ".join(row["imports"]) or "none",
    }


BENCHMARK = Benchmark(
    "how long `nowcast --help` and `import nowcast` take, and what large packages they import",
    measure,
    cells,
    no_note,
    ("pairs",),
    Asked(pairs=11),
)
