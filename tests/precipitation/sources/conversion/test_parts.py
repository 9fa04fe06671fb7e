"""A conversion in parts writes what one without does, to the byte, and goes on where it stopped."""

import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from nowcast.core.errors import RunError
from nowcast.core.execution.cluster import ClusterSettings
from nowcast.core.execution.engines import executor_of
from nowcast.core.execution.executor import Executor, Outcome, Place, Work, outcome_of
from nowcast.core.execution.processes import Processes
from nowcast.core.system.distributed import Ranks
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.conversion.convert import convert
from nowcast.precipitation.sources.conversion.damage import SKIPPED
from nowcast.precipitation.sources.conversion.parts import parts_folder
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.field import Request
from nowcast.precipitation.units import Calibration
from tests.precipitation.sources.conversion.test_append_and_skip import contents, cut
from tests.radar_files import sevir_row, write_odim, write_sevir

RELATION = Calibration(200.0, 1.6)
TARGET = Target(calibration=RELATION, crop=(0, 4, 0, 4), block_mean=2)


class Here:
    """An executor that does work at once, in this process, as another would get it."""

    room = 100

    def __init__(self) -> None:
        self.titles: list[str] = []
        self._ended: list[tuple[int, Outcome]] = []

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, key: int, work: Work) -> None:
        self.titles.append(work.title)
        folder = Path.cwd()
        os.chdir("/")  # where a worker may be
        outcome = outcome_of(pickle.loads(pickle.dumps(work)), Place(Ranks()))
        os.chdir(folder)
        self._ended.append((key, outcome))

    def poll(self) -> Sequence[tuple[int, Outcome]]:
        ended, self._ended = self._ended, []
        return ended


def write_days(folder: Path, days: Sequence[str] = ("20200601", "20200602", "20200603")) -> None:
    """Four ODIM composites a day; the first of all has no data."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for day in days:
        for n in range(4):
            raw = generator.integers(0, 120, (5, 4), dtype=np.uint8)
            if (day, n) == ("20200601", 0):
                raw[:] = 255
            write_odim(folder / f"{day}_{n}.h5", raw, date=day, time=f"12{5 * n:02}00")


def spoil(path: Path) -> None:
    """Make a file that opens and cannot be read."""
    with h5py.File(path, "a") as file:
        del file["dataset1/data1/data"]
        file["dataset1/data1/data"] = np.zeros((5, 4), "S1")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    write_days(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    yield Path("in")  # as users write it


def converted(source: Path, out: str, target: Target, executor: Executor | None = None) -> None:
    convert(source, Path(out), "odim", Request(), target, None, executor, 2)


@pytest.mark.parametrize("damaged", [False, True])
def test_parts_make_the_same_bytes(source: Path, damaged: bool):
    target = replace(TARGET, skip_damaged=damaged)
    if damaged:
        cut(source / "20200602_1.h5")  # does not open
        spoil(source / "20200603_2.h5")
    converted(source, "one/out", target)
    there = Here()
    converted(source, "other/out", target, there)
    assert len(there.titles) == 2
    assert contents(Path("one")) == contents(Path("other"))  # and no parts are left
    assert (Path("other/out") / SKIPPED).exists() == damaged


def test_frames_are_added_in_parts(source: Path):
    for folder in ("one", "other"):
        converted(source, f"{folder}/out", TARGET)
    write_days(source, ["20200604"])
    (source / "20200603_0.h5").unlink()  # which the archive has
    appending = replace(TARGET, append=True)
    converted(source, "one/out", appending)
    converted(source, "other/out", appending, Here())
    assert contents(Path("one")) == contents(Path("other"))
    assert len(Archive(Path("one/out")).moments) == 15


def test_a_failing_file_stops_no_other_and_the_same_command_goes_on(source: Path):
    bad = source / "20200602_1.h5"
    good = bad.read_bytes()
    spoil(bad)
    first, second = Here(), Here()
    with pytest.raises(RunError, match=r"(?s)1 failed.*the same command goes on.*20200602_1\.h5"):
        convert(source, Path("out"), "odim", Request(), TARGET, None, first, 3)
    assert len(first.titles) == 3 and not Path("out").exists()
    bad.write_bytes(good)
    convert(source, Path("out"), "odim", Request(), TARGET, None, second, 3)
    assert second.titles == ["in, 2020-06-02T12:00 to 2020-06-02T12:15"]
    converted(source, "one/out", TARGET)
    assert contents(Path("out")) == contents(Path("one/out"))
    assert not parts_folder(Path("out")).exists()


def test_parts_of_another_command_are_not_taken(source: Path):
    bad = source / "20200603_1.h5"
    good = bad.read_bytes()
    spoil(bad)
    with pytest.raises(RunError):
        converted(source, "out", TARGET, Here())
    bad.write_bytes(good)
    other = replace(TARGET, block_mean=1)
    there = Here()
    converted(source, "out", other, there)
    assert len(there.titles) == 2  # all of it again
    converted(source, "one/out", other)
    assert contents(Path("out")) == contents(Path("one/out"))


def test_a_stack_and_a_folder_of_units_that_a_file_alone_does_not_tell(tmp_path: Path):
    frames = np.random.default_rng(0).uniform(0, 20, (6, 4, 4))
    np.save(tmp_path / "rain.npy", frames)
    np.save(tmp_path / "times.npy", np.datetime64("1970-01-01T22:00", "m") + 30 * np.arange(6))
    request = Request("mm/h", times=tmp_path / "times.npy")
    for folder, executor in (("one", None), ("other", Here())):
        out = tmp_path / folder / "out"
        convert(tmp_path / "rain.npy", out, "stack", request, Target(), None, executor, 2)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    # The first file says dBZ; the second holds a rate, too.
    write_days(tmp_path / "in", ["20200601", "20200602"])
    with h5py.File(tmp_path / "in" / "20200602_1.h5", "a") as file:
        file["dataset1/data2/what"].attrs["quantity"] = np.bytes_(b"RATE\0")
    for folder, executor in (("one", None), ("other", Here())):
        target = Target(calibration=RELATION)
        out = tmp_path / folder / "odim"
        convert(tmp_path / "in", out, "odim", Request(), target, None, executor, 2)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


@pytest.mark.slow
def test_of_many_sources(tmp_path: Path):
    vil = np.zeros((3, 384, 384, 49), np.uint8)
    vil[:, 100:200, 100:200] = np.arange(49) + np.array([50, 100, 150]).reshape(3, 1, 1, 1)
    rows = [
        sevir_row(f"S{n}", n, time_utc=f"2019-06-1{n} 18:32:00", minute_offsets=offsets)
        for n, offsets in enumerate([sevir_row("", 0)["minute_offsets"]] * 3)
    ]
    path, catalog = write_sevir(tmp_path, vil, rows)
    for folder, executor in (("one", None), ("other", Here())):
        out = tmp_path / folder / "out"
        request = Request(catalog=catalog)
        written = convert(
            path, out, "sevir", request, Target(crop=(90, 180, 90, 180)), None, executor, 2
        )
        assert [one.root.name for one in written] == ["S0", "S1", "S2"]
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_mlcasts_store_is_written_by_one_process(run, source: Path):
    about = ["license=CC-BY-4.0", "created_by=a <b>", "created_with=c", "identifier=d"]
    options = [text for entry in about for text in ("--mlcast", entry)]
    options = [*options, "--zr", "200,1.6", "--to", "mlcast", "--jobs", 2]
    status, _, err = run("data", "convert", source, "out.zarr", *options)
    assert status == 2 and "leave out --jobs and --cluster" in err


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", "dask", "submitit"])
def test_engines_make_the_same_bytes(source: Path, engine: str):
    converted(source, "one/out", TARGET)
    spec = ClusterSettings(engine="submitit", where="local", threads=1, gpus=0)
    if engine == "processes":
        converted(source, "other/out", TARGET, Processes(2))
    elif engine == "submitit":
        pytest.importorskip("submitit", reason="needs memel-nowcast[cluster]")
        folder = parts_folder(Path("other/out")) / "cluster"
        converted(source, "other/out", TARGET, executor_of(spec, 2, folder))
    else:
        distributed = pytest.importorskip("distributed", reason="needs memel-nowcast[cluster]")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster:
            spec = ClusterSettings(engine="dask", address=cluster.scheduler_address, threads=1)
            converted(source, "other/out", TARGET, executor_of(spec, 2, Path("engine")))
    assert contents(Path("one")) == contents(Path("other"))


def test_the_command_refuses_a_cluster_that_is_none(run, source: Path):
    status, _, err = run("data", "convert", source, "out", "--zr", "200,1.6", "--cluster", "slurm")
    assert status == 2 and "--cluster: expected processes, dask:ADDRESS" in err
