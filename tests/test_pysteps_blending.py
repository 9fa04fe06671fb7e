"""Our nowcasts in pysteps' blending with NWP, and its plug-ins: our importer, our method."""

import contextlib
import io
import tomllib
from datetime import datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
from numpy.typing import NDArray

from nowcast.precipitation.sources.odim.for_pysteps import import_nowcast_odim
from nowcast.pysteps import forecast
from tests import ROOT
from tests.radar_files import write_odim
from tests.test_pysteps import COMOVING, moving, write_run

STEPS, MEMBERS = 3, 2
pytestmark = pytest.mark.filterwarnings(
    "ignore::nowcast.core.terminal.result_warnings.ResultWarning"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("runs")
    widths = {"stem": 2, "hidden": [2, 2], "guide": 2, "head": 2}
    return {
        "comoving": write_run(folder / "comoving", COMOVING),
        "ensemble": write_run(folder / "ensemble", {"kind": "comoving-ensemble", **widths}),
    }


def blended(
    rates: NDArray[np.float64], nowcast: NDArray[np.float64], folder: Path
) -> NDArray[np.float64]:
    """Blended with a model whose rain lies a little further, in mm/h, as the documentation does."""
    with contextlib.redirect_stdout(io.StringIO()):
        from pysteps import blending
        from pysteps.utils import transformation

        def decibels(rain: NDArray[np.float64]) -> NDArray[np.float64]:
            return transformation.dB_transform(rain, threshold=0.1, zerovalue=-15.0)[0]

        members = nowcast if nowcast.ndim == 4 else nowcast[None]
        newest = np.broadcast_to(rates[-1], (len(members), 1, *rates.shape[1:]))
        model = moving(STEPS + 3)[2:, : rates.shape[1], : rates.shape[2]]
        velocity = np.zeros((2, *rates.shape[1:]))
        velocity[0] = 3.0
        found = blending.get_method("steps")(
            precip=decibels(np.nan_to_num(rates)),
            precip_models=decibels(model)[None],
            precip_nowcast=decibels(np.concatenate([newest, members], axis=1)),
            velocity=velocity,
            velocity_models=np.broadcast_to(velocity, (1, STEPS + 1, *velocity.shape)),
            timesteps=STEPS,
            timestep=5,
            issuetime=datetime(2024, 7, 1, 10),
            n_ens_members=len(members),
            nowcasting_method="external_nowcast",
            noise_method=None if len(members) > 1 else "nonparametric",
            precip_thr=-10.0,
            kmperpixel=1.0,
            vel_pert_method=None,
            seed=1,
            outdir_path_skill=str(folder),
        )
        return np.asarray(transformation.dB_transform(found, threshold=-10.0, inverse=True)[0])


@pytest.mark.filterwarnings("ignore::RuntimeWarning:pysteps", "ignore::UserWarning:pysteps")
@pytest.mark.parametrize("case", ["velocity", "own motion", "members", "a gap", "dry"])
def test_a_nowcast_of_ours_is_blended_with_a_model(
    case: str, weights: dict[str, str], tmp_path: Path
):
    pytest.importorskip("pysteps", reason="needs memel-nowcast[pysteps]")
    rates = moving(3)[:, :, :64]
    if case == "a gap":
        rates[:, :8, :8] = np.nan
    if case == "dry":
        rates = np.zeros_like(rates)
    velocity = np.stack([np.full((64, 64), 3.0), np.full((64, 64), 1.0)])
    kind = "ensemble" if case == "members" else "comoving"
    nowcast = forecast(
        rates,
        velocity if case == "velocity" else None,
        STEPS,
        weights=weights[kind],
        n_ens_members=MEMBERS if case == "members" else None,
    )
    expected = (MEMBERS, STEPS, 64, 64) if case == "members" else (STEPS, 64, 64)
    assert nowcast.shape == expected
    assert np.isnan(nowcast[..., :8, :8]).all() == (case == "a gap")
    found = blended(rates, nowcast, tmp_path)
    assert found.shape == (MEMBERS if case == "members" else 1, STEPS, 64, 64)
    if case == "dry":
        assert (nowcast == 0).all()
    else:
        assert np.nanmax(found) > 1
    assert np.isfinite(found[..., 20:, 20:]).all()


RAW = np.array([[0, 255, 64], [84, 104, 124]], dtype=np.uint8)  # dry, no data; 0, 10, 20, 30 dBZ


def test_our_reader_of_odim_is_an_importer_of_pysteps(tmp_path: Path):
    write_odim(tmp_path / "dbz.h5", RAW)
    values, quality, metadata = import_nowcast_odim(tmp_path / "dbz.h5")
    np.testing.assert_allclose(values, [[-10, np.nan, 0], [10, 20, 30]])
    assert quality is None and (metadata["unit"], metadata["transform"]) == ("dBZ", "dB")
    assert (metadata["threshold"], metadata["zerovalue"]) == (0, -10)
    assert metadata["x2"] - metadata["x1"] == pytest.approx(3 * metadata["xpixelsize"])
    assert metadata["cartesian_unit"] == "m" and metadata["yorigin"] == "upper"
    write_odim(tmp_path / "sum.h5", RAW, quantity="ACRR", gain=0.1, offset=0.0)
    values, _, metadata = import_nowcast_odim(tmp_path / "sum.h5")
    np.testing.assert_allclose(values, [[0, np.nan, 6.4], [8.4, 10.4, 12.4]])
    assert (metadata["unit"], metadata["accutime"], metadata["zerovalue"]) == ("mm", 5, 0)
    write_odim(tmp_path / "dry.h5", 0 * RAW)
    values, _, metadata = import_nowcast_odim(tmp_path / "dry.h5")
    assert (values == metadata["zerovalue"]).all() and metadata["zerovalue"] == -32


def test_pysteps_finds_what_the_package_declares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert resolve_name(declared["pysteps.plugins.nowcasts"]["nowcast"]) is forecast
    ((name, value),) = declared["pysteps.plugins.importer"].items()
    pytest.importorskip("pysteps", reason="needs memel-nowcast[pysteps]")
    with contextlib.redirect_stdout(io.StringIO()):
        from pysteps.io import importers, interface

    def stated(group: str) -> list[EntryPoint]:
        found = EntryPoint(name, value, group)
        return [found] if group == "pysteps.plugins.importer" else []

    monkeypatch.setattr(interface, "entry_points", stated)
    monkeypatch.setattr(interface, "_importer_methods", dict(interface._importer_methods))
    monkeypatch.delattr(importers, "import_nowcast_odim", raising=False)
    interface.discover_importers()
    importer = interface.get_method("nowcast_odim", "importer")
    write_odim(tmp_path / "rate.h5", RAW)
    values, _, metadata = importer(tmp_path / "rate.h5")
    assert values.dtype == np.float64 and "projection" in metadata
