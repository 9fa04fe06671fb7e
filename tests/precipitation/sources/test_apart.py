"""Decoding apart: whatever a file does to what reads it, its caller goes on and names the file."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio import Affine

from nowcast.core.errors import ConfigError, DataError, NowcastError
from nowcast.precipitation.sources.apart.decoder import DECODER, Decoder, DecodingError
from nowcast.precipitation.sources.conversion.convert import convert
from nowcast.precipitation.sources.conversion.cut import Cut
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.conversion.values import accumulation, checked
from nowcast.precipitation.sources.field import Field, Request
from nowcast.precipitation.sources.table import sources
from nowcast.precipitation.units import Calibration
from tests.mutations import mutations
from tests.radar_files import write_knmi, write_odim

RAW = np.random.default_rng(0).integers(0, 200, (12, 16)).astype(np.uint8)
TIME = np.datetime64("2020-06-01T12:00", "m")
# What a hostile file does to a process, as an importer of a package that does it on request.
HOSTILE = """
import ctypes, os, time
import numpy as np
from nowcast.precipitation.sources.field import Field
from nowcast.precipitation.sources.importer import file_importer

def fields(path):
    deed = path.read_text()
    if deed == "crash":
        ctypes.string_at(0)
    if deed == "abort":
        os.abort()
    if deed == "hang":
        time.sleep(600)
    if deed == "bomb":
        np.ones(2**34)
    if deed == "exit":
        os._exit(3)
    if deed == "noise":
        os.write(1, b"noise")
        print("noise")
    yield Field(np.datetime64("2020-06-01T12:0" + path.stem, "m"), np.ones((4, 5)), "mm_h")

importer = file_importer("*.bad", fields)
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for files of an importer that does what they say."""
    site = tmp_path / "site"
    info = site / "hostile-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "hostile.py").write_text(HOSTILE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nowcast.importers]\nhostile = hostile:importer")
    monkeypatch.syspath_prepend(site)
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    found = Decoder(memory_bytes=2**30, seconds=2.0)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("crash", "crashed with SIGSEGV"),
        ("abort", "crashed with SIGABRT"),
        ("hang", "not done after 2"),
        ("bomb", "Unable to allocate 128. GiB"),
        ("exit", "ended with status 3"),
    ],
)
def test_what_a_file_breaks_is_one_error_with_its_name(
    hostile: Path, decoder: Decoder, deed: str, said: str
):
    for number in range(3):
        (hostile / f"{number}.bad").write_text("good")
    (hostile / "1.bad").write_text(deed)
    with pytest.raises(DataError, match=rf"1\.bad: .*{said}"):
        decoder.sources("hostile", hostile, Request())
    (source,) = decoder.sources("hostile", hostile / "2.bad", Request())  # and it goes on
    assert source.read(0).values.shape == (4, 5)


def test_a_crash_costs_that_field_and_the_source_goes_on(hostile: Path, decoder: Decoder):
    for number in range(3):
        (hostile / f"{number}.bad").write_text("good")
    (source,) = decoder.sources("hostile", hostile, Request())
    (hostile / "1.bad").write_text("crash")
    assert source.read(0).time == TIME
    with pytest.raises(DecodingError, match=r"1\.bad: expected a file that can be read, .*SIGSEGV"):
        source.read(1)
    (hostile / "1.bad").write_text("noise")
    assert [field.time for field in source] == [TIME, TIME + 1, TIME + 2]
    assert decoder.started == 2


def test_a_crash_in_a_conversion_is_skipped_and_listed(hostile: Path, tmp_path: Path):
    for number in range(4):
        (hostile / f"{number}.bad").write_text("good")
    (hostile / "2.bad").write_text("crash")
    with pytest.raises(DecodingError, match=r"2\.bad: .*SIGSEGV"):
        convert(hostile, tmp_path / "out", "hostile", Request(), Target())
    target = Target(skip_damaged=True, step_minutes=1)
    (written,) = convert(hostile, tmp_path / "out", "hostile", Request(), target)
    assert written.frames == 3 and [Path(one.file).name for one in written.skipped] == ["2.bad"]


def test_a_process_that_was_killed_is_started_again(tmp_path: Path, decoder: Decoder):
    write_odim(tmp_path / "a.h5", RAW)
    (source,) = decoder.sources("odim", tmp_path, Request())
    before = source.read(0)
    assert decoder._child is not None
    os.kill(decoder._child.process.pid, signal.SIGKILL)
    decoder._child.process.wait()
    assert_same(source.read(0), before)
    assert decoder.started == 2
    write_odim(tmp_path / "a.h5", RAW, time="130000")
    decoder.close()
    with pytest.raises(DataError, match="it changed while it was read"):
        source.read(0)


def test_fields_errors_and_places_are_those_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    write_odim(Path("a.h5"), RAW)
    write_knmi(Path("b.h5"), RAW.astype(np.uint16))
    for name, path, request in (
        ("odim", Path("a.h5"), Request()),
        ("knmi", Path("b.h5"), Request(unit="mm")),
    ):
        ((apart,), (here,)) = DECODER.sources(name, path, request), sources(name, path, request)
        assert (apart.name, apart.notes, apart.stated_step) == (
            here.name,
            here.notes,
            here.stated_step,
        )
        assert apart.where(0) == here.where(0) and np.array_equal(apart.times, here.times)
        assert_same(apart.read(0), here.read(0))
    for name, request in (("knmi", Request()), ("odim", Request(catalog=Path("x")))):
        said = []
        for read in (DECODER.sources, sources):
            with pytest.raises((ConfigError, DataError)) as raised:
                read(name, Path("a.h5"), request)
            said.append((raised.type, str(raised.value)))
        assert said[0] == said[1]
    assert DECODER.recognised(Path("a.h5")) == "odim"
    Path("c.bin").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"c\.bin: expected radar, found no format that is known"):
        DECODER.recognised(Path("c.bin"))


def test_several_threads_take_turns(tmp_path: Path, decoder: Decoder):
    for number in range(4):
        write_odim(tmp_path / f"{number}.h5", RAW + number, time=f"120{number}00")
    (source,) = decoder.sources("odim", tmp_path, Request())
    found: dict[int, Field] = {}

    def read(position: int) -> None:
        for _ in range(5):
            found[position] = source.read(position)

    threads = [threading.Thread(target=read, args=(position,)) for position in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for position, field in found.items():
        assert field.time == TIME + position
        assert field.values[1, 1] == (RAW[1, 1] + position) * 0.5 - 32


def test_it_ends_with_its_caller(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW)
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from nowcast.precipitation.sources.apart.decoder import DECODER\n"
        f"DECODER.recognised(Path({str(tmp_path / 'a.h5')!r}))\n"
        "print(DECODER._child.process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    pid = int(done.stdout)
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":  # whoever adopts it has not looked yet
            return
        threading.Event().wait(0.1)
    raise AssertionError(f"{pid} still runs")


def assert_same(one: Field, other: Field) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    assert (one.time, one.unit, one.accumulation_minutes, one.grid, one.converted) == (
        other.time,
        other.unit,
        other.accumulation_minutes,
        other.grid,
        other.converted,
    )


# Mutated files: the caller lives, and what is read could be radar


def odim(path: Path) -> None:
    write_odim(path, RAW, compression="gzip")


def knmi(path: Path) -> None:
    write_knmi(path, RAW.astype(np.uint16))


def stack(path: Path, **how: object) -> None:
    rain = xarray.Dataset(
        {"rain": (("time", "y", "x"), RAW[None].astype(np.float32) / 10, {"units": "mm/h"})},
        {"time": [TIME.astype("datetime64[ns]")]},
    )
    rain = rain.assign_coords(y=1e3 * np.arange(12, 0, -1), x=np.arange(16.0))
    rain.to_netcdf(path, **how)


def netcdf_3(path: Path) -> None:
    stack(path, engine="scipy")


def netcdf_4(path: Path) -> None:
    stack(path, engine="h5netcdf")


def tiff(path: Path) -> None:
    place = Affine(1000, 0, 4e6, 0, -1000, 3e6)
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "crs": "EPSG:3035"}
    with rasterio.open(
        path, "w", height=12, width=16, transform=place, compress="deflate", **profile
    ) as file:
        file.write(RAW.astype(np.float32) / 10, 1)
        file.set_band_unit(1, "mm/h")


WRITERS = (odim, knmi, netcdf_3, netcdf_4, tiff)
RELATION = Target(calibration=Calibration(200.0, 1.6))


def read_or_refused(path: Path) -> str:
    """``read``, ``refused`` or ``broke`` (its process), of a file that was mutated.

    What is read has the time, the unit and the shape of a field, and passes the checks that a
    frame passes; a refusal names the file. None of the formats has a checksum over all of its
    bytes, so that a number may be another number.
    """
    try:
        for source in DECODER.sources(DECODER.recognised(path), path, Request()):
            for field in source:
                assert field.unit in ("dBZ", "mm_h", "mm") and not np.isnat(field.time)
                minutes = accumulation(field, path.name, RELATION)
                values = checked(field, minutes, path.name, RELATION)
                pixels, mask = Cut(path.name, values.shape, RELATION).pixels(values, field.unit)
                assert pixels.shape == mask.shape == field.values.shape
                assert bool(((pixels >= 0) & (pixels <= 1)).all()) and not pixels[~mask].any()
    except NowcastError as error:
        assert path.name in str(error), str(error)
        return "broke" if isinstance(error, DecodingError) else "refused"
    return "read"


def mutated(cases: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=cases, deadline=None, derandomize=True, suppress_health_check=checks
    )


@pytest.mark.parametrize("write", WRITERS)
@mutated(25)
@given(mutate=mutations())
def test_a_mutated_file_costs_no_more_than_its_frame(
    tmp_path: Path, write: Callable[[Path], None], mutate: Callable[[bytes], bytes]
):
    path = tmp_path / "rain_202006011200.data"
    write(path)
    path.write_bytes(mutate(path.read_bytes()))
    read_or_refused(path)


@pytest.mark.slow
def test_ten_thousand_mutated_files_break_no_caller(
    tmp_path: Path, radar_dev: Path, capsys: pytest.CaptureFixture[str]
):
    """Real files of KNMI, and those above, each mutated once to a few times."""
    originals = [path.read_bytes() for path in (radar_dev / "knmi_hdf5_originals").glob("*.h5")]
    for number, write in enumerate(WRITERS):
        write(tmp_path / f"{number}.data")
        originals.append((tmp_path / f"{number}.data").read_bytes())
    path = tmp_path / "rain_202006011200.data"
    came: Counter[str] = Counter()

    @settings(
        max_examples=10_000,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(number=st.integers(0, len(originals) - 1), mutate=mutations())
    def each(number: int, mutate: Callable[[bytes], bytes]) -> None:
        path.write_bytes(mutate(originals[number]))
        came[read_or_refused(path)] += 1

    each()
    with capsys.disabled():
        print(dict(came), "processes started:", DECODER.started)  # noqa: T201, for the note
    assert came.total() >= 10_000 and came["read"] and came["refused"]
