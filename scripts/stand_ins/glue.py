"""Real text in GLUE's layout, to try everything on without GLUE."""

from collections.abc import Sequence
from pathlib import Path

from nowcast.core.errors import ConfigError
from nowcast.core.storage.files import write_text
from nowcast.glue.benchmark import Part, data_set
from scripts.stand_ins import check_new
from scripts.stand_ins.texts import STAND_INS, Row, StandIn

README = "README.txt"

# The columns of GLUE's own files, without those of STS-B that say where a sentence is from.
HEADERS = {
    "sst-2": ("sentence", "label"),
    "mrpc": ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
    "sts-b": ("index", "sentence1", "sentence2", "score"),
    "qnli": ("index", "question", "sentence", "label"),
}


def write_sample(root: Path, sets: Sequence[str] = tuple(STAND_INS)) -> dict[str, dict[Part, int]]:
    """Write stand-ins for data sets of GLUE, and a README that says what they are.

    The same packages give the same bytes.

    Args:
        root: the folder to make.
        sets: which of `STAND_INS`.

    Returns:
        Number of examples by data set and part.

    Raises:
        ConfigError: no stand-in of a name, a package is not installed, or `root` is not empty.
        DataError: a package does not hold what its version has.
    """
    unknown = [name for name in sets if name not in STAND_INS]
    if unknown:
        raise ConfigError(f"expected sets of {', '.join(STAND_INS)}, found {unknown[0]!r}")
    chosen = {name: STAND_INS[name] for name in sets}
    lacking = {name: found.lacks() for name, found in chosen.items() if found.lacks()}
    if lacking:
        lines = [
            f"\n  {name} comes with {', '.join(lacks)}: `{chosen[name].install}`"
            for name, lacks in lacking.items()
        ]
        raise ConfigError(
            "the text comes with Python packages that are not installed here; install them, or "
            f"leave the sets out with --sets:{''.join(lines)}"
        )
    check_new(root)
    sizes: dict[str, dict[Part, int]] = {}
    for name, stand_in in chosen.items():
        parts = stand_in.rows()
        sizes[name] = {part: len(rows) for part, rows in parts.items()}
        for part, rows in parts.items():
            lines = _lines(name, part, rows)
            _write(root / data_set(name).title / f"{part}.tsv", lines)
    _write(root / README, _readme(chosen, sizes))
    return sizes


def _lines(name: str, part: Part, rows: Sequence[Row]) -> list[str]:
    """A part's lines under its header; a test part has numbers and no labels."""
    header = HEADERS[name]
    label = data_set(name).layout("train").label
    if part == "test":
        rest = [column for column in header if column not in ("index", label)]
        header = ("index", *rest)
    lines = ["\t".join(header)]
    for number, (*sentences, word) in enumerate(rows):
        values = {"index": str(number), "#1 ID": f"{number}a", "#2 ID": f"{number}b"}
        values[str(label)] = word
        layout = data_set(name).layout(part)
        columns = (layout.first,) if layout.second is None else (layout.first, layout.second)
        values |= dict(zip(columns, sentences, strict=True))
        lines.append("\t".join(values[column] for column in header))
    return lines


def _readme(chosen: dict[str, StandIn], sizes: dict[str, dict[Part, int]]) -> list[str]:
    lines = [
        "This is NOT the GLUE benchmark. It is other text in the layout of GLUE's files, to try a",
        "program on; scores on it are not comparable with any score on GLUE. For GLUE itself see",
        "https://gluebenchmark.com/tasks.",
        "Written by `python -m scripts.stand_ins glue`.",
    ]
    for name, stand_in in chosen.items():
        counts = ", ".join(f"{count} {part}" for part, count in sizes[name].items())
        lines += ["", f"{data_set(name).title}/ ({counts})", f"  {stand_in.credit}."]
    return lines


def _write(path: Path, lines: Sequence[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
