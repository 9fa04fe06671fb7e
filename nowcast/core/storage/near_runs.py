"""Which run a wrong path may mean: a seed in a folder of runs, or a similar name."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nowcast.core.errors import near, question

CONFIG = "config.yaml"  # a folder with one is a run
RUNS = "runs"  # where the examples put them
DEEPEST = 3  # COMPARISON/runs/VARIANT/SEED


def runs_within(folder: Path) -> Iterator[Path]:
    """The runs nearest below a folder, in the order of their names."""
    for depth in range(1, DEEPEST + 1):
        configs = sorted(folder.glob("*/" * depth + CONFIG))
        if configs:
            yield from (path.parent for path in configs)
            return


def meant_run(path: Path) -> str:
    """``; did you mean runs/x/seed0?`` for a path that is no run; empty if none is near."""
    if path.is_dir():
        return question([str(run) for run in runs_within(path)][:3])
    near_runs: list[Path] = []
    for parent in (path.parent, path.parent / RUNS):  # `first` may be runs/first
        with suppress(OSError):  # the parent does not exist either
            folders = {each.name: each for each in parent.iterdir() if each.is_dir()}
            for name in near(path.name, folders):
                runs = [folders[name]] if (folders[name] / CONFIG).is_file() else None
                near_runs += (runs or list(runs_within(folders[name])))[:1]
    return question([str(run) for run in dict.fromkeys(near_runs)][:3])
