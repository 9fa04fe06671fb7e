"""Weights as a nowcast method of pysteps: its conventions in, its conventions out."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import nowcast.pysteps as module
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.storage.yaml_files import dumps
from nowcast.core.terminal.result_warnings import ResultWarning
from nowcast.core.training.checkpoint import save_weights
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import DWD_ZR_A, DWD_ZR_B
from nowcast.pysteps import forecast, register

IN_LEN = 3
STAGES = [{"channels": 2, "hidden": 2, "kernel": 3, "down": [5, 3, 1], "up": [5, 3, 1]}]
COMOVING = {"comoving": {"stem": 2, "hidden": [2, 2], "guide": 2, "head": 2}}


def write_run(folder: Path, model: dict[str, object]) -> str:
    config = {"task": "precipitation", "data": {"in_len": IN_LEN}, "model": model}
    settings = PrecipitationSettings.model_validate(config)
    torch.manual_seed(0)
    content = settings.model_dump(mode="json")
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(dumps(content))
    save_weights(folder / "best.safetensors", settings.model.build(3, 1), content)
    return str(folder)


@pytest.fixture(scope="module")
def comoving(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Not trained: the forecast is S-PROG's along the motion."""
    return write_run(tmp_path_factory.mktemp("runs") / "comoving", COMOVING)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_run(tmp_path_factory.mktemp("runs") / "plain", {"stages": STAGES})


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> str:
    widths = {"stem": 2, "hidden": [2, 2], "guide": 2, "head": 2}
    model = {"kind": "comoving-ensemble", **widths}
    return write_run(tmp_path_factory.mktemp("runs") / "ensemble", model)


@pytest.fixture
def interface() -> Iterator[object]:
    pytest.importorskip("pysteps", reason="needs memel-nowcast[pysteps]")
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its settings
        import pysteps.nowcasts.interface as found
    before = dict(found._nowcast_methods)
    yield found
    found._nowcast_methods.clear()
    found._nowcast_methods.update(before)


def moving(times: int = IN_LEN, across: float = 3.0, down: float = 1.0) -> NDArray[np.float64]:
    """A shower of 20 mm/h at its centre that moves; mm/h."""
    rows, columns = np.mgrid[:64, :70]
    return np.stack(
        [
            20
            * np.exp(-((rows - 20 - down * t) ** 2 + (columns - 20 - across * t) ** 2) / (2 * 25.0))
            for t in range(times)
        ]
    )


def centre(frame: NDArray[np.float64]) -> tuple[float, float]:
    """Row and column around which the rain lies."""
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]]
    return float((frame * rows).sum() / frame.sum()), float((frame * columns).sum() / frame.sum())


def test_pysteps_gives_it_by_name_and_verifies_what_comes_out(interface: object, comoving: str):
    import pysteps

    register()
    nowcast = pysteps.nowcasts.get_method("Nowcast")
    rain = moving(IN_LEN + 2)
    transformed, _ = pysteps.utils.transformation.dB_transform(
        rain[:IN_LEN], threshold=0.1, zerovalue=-15.0
    )
    velocity = pysteps.motion.get_method("LK")(transformed)
    found = nowcast(rain[:IN_LEN], velocity, 2, weights=comoving)
    assert found.shape == (2, 64, 70) and found.dtype == np.float64
    from pysteps.verification import detcatscores, spatialscores

    for lead in range(2):
        truth = rain[IN_LEN + lead]
        still = detcatscores.det_cat_fct(rain[IN_LEN - 1], truth, 1.0, scores="CSI")["CSI"]
        csi = detcatscores.det_cat_fct(found[lead], truth, 1.0, scores="CSI")["CSI"]
        assert csi > max(0.8, still)
        assert spatialscores.fss(found[lead], truth, 5.0, 5) > 0.8


def test_rain_goes_where_the_velocity_says(comoving: str):
    rain = moving(across=3.0, down=1.0)
    row, column = centre(rain[-1])
    # x comes first, as in pysteps. The other way round the past contradicts it.
    for velocity, least, most in (((3.0, 1.0), 0.0, 0.3), ((1.0, 3.0), 1.0, 9.0)):
        field = np.stack([np.full((64, 70), part) for part in velocity])
        found = centre(forecast(rain, field, 4, weights=comoving)[-1])
        assert least <= np.hypot(found[0] - (row + 4), found[1] - (column + 12)) <= most


def test_own_velocity_given_by_hand_changes_nothing(comoving: str):
    from nowcast.precipitation.forecasters.flow.motion import motion_field
    from nowcast.precipitation.units import Calibration

    rain = moving()
    pixels = Calibration().pixel_from_rate(rain).astype(np.float32)
    velocity = motion_field(pixels, np.ones(pixels.shape, dtype=bool))
    np.testing.assert_allclose(
        forecast(rain, velocity, 3, weights=comoving),
        forecast(rain, None, 3, weights=comoving),
        rtol=1e-4,
        atol=1e-4,
    )


def test_the_last_frames_are_used_and_steps_may_be_chosen(comoving: str):
    rain = moving(IN_LEN + 2)
    whole = forecast(rain, None, 3, weights=comoving)
    np.testing.assert_array_equal(forecast(rain[2:], None, 3, weights=comoving), whole)
    np.testing.assert_array_equal(forecast(rain, None, [1, 3.0], weights=comoving), whole[[0, 2]])


def test_no_data_stays_unknown_only_where_no_frame_has_any(comoving: str):
    rain = moving()
    rain[:, :, :5] = np.nan
    rain[-1, 60:] = np.nan
    found = forecast(np.ma.masked_invalid(rain), None, 2, weights=comoving)
    assert np.isnan(found[:, :, :5]).all()
    assert np.isfinite(found[:, :, 5:]).all()
    np.testing.assert_array_equal(found, forecast(rain, None, 2, weights=comoving))


def test_dry_stays_dry(plain: str):
    drizzle = np.full((IN_LEN, 9, 9), 0.09)
    assert (forecast(drizzle, None, 2, weights=plain) == 0).all()


def test_a_network_sees_pixels_of_the_relation_it_is_told(plain: str):
    from nowcast.precipitation.units import Calibration

    rain = moving()
    found = forecast(rain, None, 2, weights=plain, zr_a=DWD_ZR_A, zr_b=DWD_ZR_B)
    calibration = Calibration(DWD_ZR_A, DWD_ZR_B)
    model = module._read(plain, _written(plain), 2, calibration).model
    pixels = torch.from_numpy(calibration.pixel_from_rate(rain)).float()[None, :, None]
    with torch.no_grad():
        expected = calibration.rate_from_pixel(model(pixels)[0, :, 0].clamp(0, 1).numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(found - forecast(rain, None, 2, weights=plain)).max() > 0.01


def test_who_does_not_use_the_velocity_says_so(plain: str):
    velocity = np.zeros((2, 64, 70))
    with pytest.warns(UserWarning, match="velocity: .*plain learned how rain moves"):
        found = forecast(moving(), velocity, 1, weights=plain)
    np.testing.assert_array_equal(found, forecast(moving(), None, 1, weights=plain))


def test_weights_are_read_once_and_again_when_written_anew(tmp_path: Path):
    run = write_run(tmp_path / "run", {"stages": STAGES})
    before = module._read.cache_info().misses
    for _ in range(3):
        first = forecast(moving(), None, 1, weights=run)
    assert module._read.cache_info().misses == before + 1
    settings = PrecipitationSettings.model_validate({"model": {"stages": STAGES}})
    torch.manual_seed(1)
    file = tmp_path / "run" / "best.safetensors"
    save_weights(file, settings.model.build(3, 1), {})
    os.utime(file, ns=(0, _written(run) + 1))
    assert not np.array_equal(forecast(moving(), None, 1, weights=run), first)


def _written(run: str) -> int:
    return (Path(run) / "best.safetensors").stat().st_mtime_ns


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precip": moving(2)}, "precip: expected 3 frames or more.*found.*(2, 64, 70)"),
        ({"precip": moving()[-1]}, "precip: expected 3 frames or more"),
        ({"precip": moving() - 15}, "found some below 0; .* before utils.transformation"),
        ({"velocity": np.zeros((2, 70, 64))}, r"velocity: .*\(2, 64, 70\).*\(2, 70, 64\)"),
        ({"velocity": np.full((2, 64, 70), np.nan)}, "velocity: .* with 8960 that are not"),
        ({"timesteps": [0.5, 1.0]}, "timesteps: expected .* whole ones"),
        ({"timesteps": [2, 1]}, "timesteps: .* ascending"),
        ({"timesteps": 0}, "timesteps: .* found 0"),
        ({"zr_a": -1.0}, "a Z-R relation needs"),
    ],
)
def test_what_cannot_be_used_is_named(comoving: str, change: dict[str, object], message: str):
    given = {"precip": moving(), "velocity": None, "timesteps": 2, "weights": comoving} | change
    with pytest.raises(ValueError, match=message):
        forecast(**given)


def test_unknown_keywords_and_weights_are_errors(comoving: str):
    with pytest.raises(TypeError, match="unexpected keyword argument 'members'; it knows weights"):
        forecast(moving(), None, 2, weights=comoving, members=20)
    with pytest.raises(ConfigError, match="found 'nothing'"):
        forecast(moving(), None, 2, weights="nothing")


def test_a_call_written_for_pysteps_works_and_says_what_it_ignores(comoving: str):
    rain = moving()
    said = {"n_ens_members": 20, "extrap_method": "semilagrangian"}
    with pytest.warns(ResultWarning, match="n_ens_members, extrap_method: ignored, since .*"):
        found = forecast(rain, None, 1, weights=comoving, timestep=6, kmperpixel=1.0, **said)
    np.testing.assert_array_equal(found, forecast(rain, None, 1, weights=comoving))
    for name in ("timestep", "kmperpixel"):
        with pytest.raises(ValueError, match=f"{name}: expected a number above 0, found -5"):
            forecast(rain, None, 1, weights=comoving, **{name: -5})


def test_members_have_the_shape_that_pysteps_verifies(ensemble: str):
    rain = moving()
    rain[:, :4] = np.nan
    members = forecast(rain, None, [1, 3], weights=ensemble, n_ens_members=4, seed=3)
    assert members.shape == (4, 2, *rain.shape[1:])
    known = members[:, :, 4:]
    assert np.isnan(members[:, :, :4]).all() and np.isfinite(known).all()
    assert (known >= 0).all() and known.std(axis=0).max() > 0
    again = forecast(rain, None, 3, weights=ensemble, n_ens_members=4, seed=3)
    np.testing.assert_array_equal(again[:, [0, 2]], members)
    other = forecast(rain, None, 3, weights=ensemble, n_ens_members=4, seed=4)
    assert (other[:, [0, 2]] != members).any()
    assert forecast(rain, None, 3, weights=ensemble).shape == (3, *rain.shape[1:])
    dry = forecast(0 * rain, None, 2, weights=ensemble, n_ens_members=2)
    assert dry.shape == (2, 2, *rain.shape[1:]) and np.nanmax(dry) == 0
    with pytest.raises(ConfigError, match="2 or more, found 1"):
        forecast(rain, None, 2, weights=ensemble, n_ens_members=1)
    with pytest.warns(UserWarning, match="velocity: members of"):
        forecast(rain, np.zeros((2, *rain.shape[1:])), 1, weights=ensemble, n_ens_members=2)


def test_what_differs_from_training_is_warned_of():
    rain = moving(10)
    for change, words in (
        (
            {"timestep": 6},
            "trained on frames 5 minutes apart (some 2, 4, 6, 8, 10, 15), these are 6",
        ),
        ({"kmperpixel": 8.0}, "trained on pixels of 1 to 4.4 km, these have 8"),
        ({"timesteps": 24}, "24 steps ahead is beyond the 20 that comoving-memel was trained for"),
        ({"precip": rain[-5:]}, "precip: 5 frames, of the 10 that comoving-memel takes"),
    ):
        given = {"precip": rain, "velocity": None, "timesteps": 1} | change
        with pytest.warns(ResultWarning, match=re.escape(words)):
            found = forecast(**given)
        assert np.isfinite(found).all() and found.max() > 1
    found = forecast(rain, None, 10, timestep=5, kmperpixel=1)  # and no warning
    assert found.shape == (10, 64, 70)


def test_too_few_frames_say_which_weights_take_so_many(plain: str):
    with pytest.raises(ValueError, match=re.escape("expected 5 frames or more (better 10), found")):
        forecast(moving(10)[-4:], None, 1)
    with pytest.raises(ValueError, match=r"found 2, .*; weights for 2: none that come"):
        forecast(moving(2), None, 1, weights=plain)


def test_no_data_at_all_is_nan_and_a_warning(comoving: str):
    nothing = np.full((IN_LEN, 9, 9), np.nan)
    with pytest.warns(ResultWarning, match=r"no data in any frame .*forecast is NaN everywhere"):
        found = forecast(nothing, None, 2, weights=comoving)
    assert found.shape == (2, 9, 9) and np.isnan(found).all()
    late = moving()
    late[-1] = np.nan
    with pytest.warns(ResultWarning, match=f"no data in the newest 1 of {IN_LEN} frames"):
        assert np.isfinite(forecast(late, None, 2, weights=comoving)).all()


def test_no_numbers_are_no_forecast(tmp_path: Path):
    settings = PrecipitationSettings.model_validate({"model": {"stages": STAGES}})
    run = write_run(tmp_path / "run", {"stages": STAGES})
    broken = settings.model.build(3, 1)
    torch.nn.init.constant_(next(iter(broken.parameters())), torch.nan)
    save_weights(tmp_path / "run" / "best.safetensors", broken, {})
    with pytest.raises(RunError, match="found NaN or infinity"):
        forecast(moving(), None, 1, weights=run)


def test_an_outage_is_no_data_and_said(comoving: str):
    rates = moving(5)
    rates[rates < 0.1] = 0
    plain = forecast(rates, None, 2, weights=comoving)
    missing, dry = rates.copy(), rates.copy()
    missing[3], dry[3] = np.nan, 0.0
    stated = forecast(missing, None, 2, weights=comoving)
    with pytest.warns(UserWarning, match=r"precip: frame 1: dry .* outage of the radar"):
        found = forecast(dry, None, 2, weights=comoving)
    np.testing.assert_array_equal(found, stated)
    assert plain.max() > 5
    still = np.repeat(rates[-1:], 3, axis=0)
    with pytest.warns(UserWarning, match="stands still"):
        forecast(still, None, 1, weights=comoving)


def test_register_says_that_pysteps_is_absent(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(ConfigError, match=r'pip install "memel-nowcast\[pysteps\]"'):
        register()
