"""What several tests share: archives, and both ways in which MEmeL works."""

import importlib.util
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from nowcast.cli.app import main
from nowcast.core.memel import fused
from nowcast.core.report.charts import Chart
from nowcast.core.report.papers import write_figures
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.synthetic.archive import write_synthetic
from tests import ROOT

# A deadline is a timing, and a timing depends on who else uses the machine.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Processes of tests are forked from one that has imported all this once, and so begin at once.
multiprocessing.set_forkserver_preload(
    [
        *("torch.distributed.nn", "torch.utils.tensorboard", "torch._dynamo"),
        *("nowcast.registry", "nowcast.precipitation.task"),
        *("nowcast.core.comparison.compare", "nowcast.core.tuning.tune"),
        *("optuna", "alembic.command", "pytest"),
    ]
)
RADAR_DEV = ROOT.parent / "shared" / "radar_dev"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the tests' own: theirs are not left in the user's, nor his read."""
    with pytest.MonkeyPatch.context() as patch:
        import matplotlib

        patch.setenv("MPLCONFIGDIR", matplotlib.get_configdir())  # whose list of fonts takes long
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of synthetic rain on 64x64 pixels; read it, do not change it."""
    root = tmp_path_factory.mktemp("archives") / "synthetic"
    write_synthetic(root, days=3, seed=0, height=64, width=64)
    return root


@pytest.fixture(scope="session")
def radar_dev() -> Path:
    """Real KNMI and MeteoSwiss radar in HKO-7's layout."""
    if not RADAR_DEV.is_dir():
        pytest.skip("needs the KNMI/MeteoSwiss development archive, which is not in this checkout")
    return RADAR_DEV


@pytest.fixture(scope="session")
def pyart_files() -> Path:
    """Real radar that arrives with pyart-mch, a composite of MeteoSwiss among it."""
    package = importlib.util.find_spec("pyart")  # not imported: its files are wanted, not its code
    if package is None or package.origin is None:
        pytest.skip("needs the files in a package: pip install --no-deps pyart-mch==2.4.1")
    return Path(package.origin).parent / "testing" / "data"


@pytest.fixture
def write_archive(tmp_path: Path) -> Callable[..., Path]:
    """Writes an archive of 8x8 frames at given moments; frame n is filled with level n."""

    def write(days: dict[str, list[str]], step_minutes: int = 6) -> Path:
        root = tmp_path / "archive"
        description = Description("tiny", "made by the tests", step_minutes, 8, 8, 58.53, 1.56)
        with ArchiveWriter(root, description) as writer:
            moments = sorted({time for times in days.values() for time in times})
            for number, time in enumerate(moments):
                levels = np.full((8, 8), number, dtype=np.uint8)
                writer.write(np.datetime64(time, "m"), levels, np.ones((8, 8), dtype=bool))
            splits = {
                split: {time[:10].replace("-", ""): 1.0 for time in times}
                for split, times in days.items()
            }
            usable = np.ones((8, 8), dtype=bool)
            usable[0] = False
            writer.finish(usable, splits)  # type: ignore[arg-type]
        return root

    return write


@pytest.fixture(scope="module", params=["in C", "in torch operations"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a module's tests both ways in which MEmeL works on CPU."""
    if request.param == "in C" and not fused.available:
        pytest.skip("_memel is not built: there was no C compiler at installation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "available", request.param == "in C")
        yield


def every(minutes: int, start: str, count: int) -> list[str]:
    """`count` moments from `start` on, a fixed number of minutes apart."""
    first = np.datetime64(start, "m")
    return [str(first + np.timedelta64(minutes * n, "m")) for n in range(count)]


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what asks nothing of intervals and of figures for papers: 1000 draws of every score take
    seconds, and so do 15 figures; one is drawn."""
    monkeypatch.setattr("nowcast.core.comparison.statistics.bootstrap.RESAMPLES", 50)
    monkeypatch.setattr("nowcast.core.comparison.figures.RESAMPLES", 20)

    def first(folder: Path, charts: Mapping[str, Chart], *others: Any) -> None:
        write_figures(folder, dict(islice(charts.items(), 1)), *others)

    for module in ("leaderboard", "results"):
        monkeypatch.setattr(f"nowcast.core.comparison.{module}.write_figures", first)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Calls the program in this process; exit status, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nowcast", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four blocks, 16 wide, random weights; read it, do not change it."""
    pytest.importorskip("transformers", reason="needs memel-nowcast[glue]")
    from tests.glue.tiny import write_bert

    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GLUE's layout, with a cache of its own; read it, do not change it."""
    from tests.glue.tiny import write_glue

    return write_glue(tmp_path_factory.mktemp("words"))
