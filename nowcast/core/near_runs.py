"""Which run a path may have meant: a seed in a folder of runs, or a name spelled much alike."""

from collections.abc import Iterator
from pathlib import Path

from nowcast.core.hints import near, question

CONFIG = "config.yaml"  # what makes a folder a run's
DEEPEST = 3  # COMPARISON/runs/VARIANT/SEED


def runs_within(folder: Path) -> Iterator[Path]:
    """The runs nearest below a folder, in the order of their names."""
    for depth in range(1, DEEPEST + 1):
        found = sorted(folder.glob("*/" * depth + CONFIG))
        if found:
            yield from (path.parent for path in found)
            return


def meant_run(path: Path) -> str:
    """``; did you mean runs/x/seed0?`` of a path that is no run's; nothing if none is near."""
    if path.is_dir():
        return question([str(run) for run in runs_within(path)][:3])
    parent = path.parent
    try:
        names = [each.name for each in parent.iterdir() if each.is_dir()]
    except OSError:  # a parent that is not there either
        return ""
    found = []
    for name in near(path.name, names):
        folder = parent / name
        runs = [folder] if (folder / CONFIG).is_file() else list(runs_within(folder))
        found += [str(run) for run in runs[:1]]
    return question(found)
