"""What is served is what lies in the folder, and nothing else can be asked for."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs pip install 'memel-nowcast[serve]'")
from fastapi.testclient import TestClient

from nowcast.core.errors import ConfigError
from nowcast.precipitation.pictures.render import BANDS
from nowcast.serving.app import application
from nowcast.serving.guard import HEADERS
from tests.serving.served import INIT, put, with_observed

Client = Callable[..., TestClient]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    def made(later_minutes: int = 7, rate: float = 1e6) -> TestClient:
        now = INIT.astype("M8[s]") + np.timedelta64(later_minutes, "m")
        return TestClient(application(tmp_path, rate=rate, now=lambda: now))

    return made


def test_the_newest_forecast_its_age_and_its_rung(tmp_path: Path, client: Client):
    put(tmp_path, with_observed())
    asked = client()
    told = asked.get("/latest.json").json()
    assert told["init"] == "2026-07-01T23:50Z" and told["model"] == "persistence"
    assert told["health"] == {
        "ok": True,
        "init": told["init"],
        "age_minutes": 7.0,
        "max_age_minutes": 30.0,
        "fault": "",
        "state": "ok",
        "rung": "network",
        "rung_reason": "",
        "latency_seconds": {"p50": 2},
    }
    frames = told["layers"][0]["frames"]
    assert [frame["lead_minutes"] for frame in frames] == [-5, 0, 5, 10, 15]
    assert [frame["kind"] for frame in frames] == ["observed"] * 2 + ["forecast"] * 3
    assert told["layers"][0]["legend"][1] == ["0.1", "#cde5f5"]
    assert told["has_grid"] and (told["height"], told["width"]) == (6, 8)
    assert asked.get("/healthz").status_code == asked.head("/healthz").status_code == 200
    assert client(31).get("/healthz").status_code == 503


def test_without_a_forecast_it_waits_and_says_so(tmp_path: Path, client: Client):
    asked = client()
    assert (
        asked.get("/healthz").status_code == asked.get("/point?row=1&column=1").status_code == 503
    )
    assert "layers" not in asked.get("/latest.json").json()
    assert "Waiting for a forecast" in asked.get("/").text
    with pytest.raises(ConfigError, match="expected the folder that"):
        application(tmp_path / "none")


def test_a_frame_has_the_colours_of_its_rain_and_nothing_where_there_is_no_data(
    tmp_path: Path, client: Client
):
    forecast = with_observed(members=4)
    put(tmp_path, forecast)
    asked = client()
    layers = {layer["name"]: layer for layer in asked.get("/latest.json").json()["layers"]}
    assert list(layers) == ["rain", "p0.5", "p2", "p5", "p10", "p30"]
    answer = asked.get(layers["rain"]["frames"][3]["url"])
    assert "immutable" in answer.headers["cache-control"]
    drawn = np.asarray(Image.open(BytesIO(answer.content)).convert("RGBA"))
    rates = forecast.rate_at(1).astype(np.float16)[:, :-1]
    palette = np.array([colour for _, colour in BANDS])
    edges = np.array([edge for edge, _ in BANDS], np.float32)
    assert np.array_equal(drawn[:, :-1, :3], palette[(rates[..., None] >= edges).sum(-1) - 1])
    assert (drawn[:, :-1, 3] == 255).all() and (drawn[:, -1, 3] == 0).all()
    frames = layers["p5"]["frames"]
    assert len(frames) == 3
    shares = np.asarray(Image.open(BytesIO(asked.get(frames[0]["url"]).content)))
    assert len(np.unique(shares)) >= 4  # of four members


def test_a_point_is_the_pixel_at_a_place_with_its_spread(tmp_path: Path, client: Client):
    forecast = with_observed(members=4)
    put(tmp_path, forecast)
    asked = client()
    told = asked.get("/point?row=2&column=3").json()
    latitude, longitude = told["latitude"], told["longitude"]
    again = asked.get("/point", params={"lat": latitude, "lon": longitude}).json()
    assert again == told and (told["row"], told["column"]) == (2, 3)
    assert (round(latitude, 1), round(longitude, 2)) == (56.0, 0.05)
    steps = told["series"]
    assert [step["lead_minutes"] for step in steps] == [-5, 0, 5, 10, 15]
    rates = [float(forecast.rate_at(lead)[2, 3]) for lead in range(3)]
    assert [step["mm_h"] for step in steps[2:]] == pytest.approx(rates, rel=0.006)
    assert forecast.members is not None
    of_members = forecast.description.calibration.rate_from_pixel(
        forecast.members.pixels[:, 0, 2, 3]
    )
    quantiles = steps[2]["quantiles_mm_h"]
    assert quantiles["0.5"] == pytest.approx(np.quantile(of_members, 0.5), rel=0.01)
    assert steps[2]["probability"]["2"] == (of_members >= 2).mean()
    masked = asked.get("/point?row=2&column=7").json()["series"]
    assert {step["mm_h"] for step in masked} == {None}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("lat=1", 400),
        ("lat=91&lon=0", 422),
        ("lat=nan&lon=0", 422),
        ("lat=10&lon=10", 404),
        ("row=6&column=0", 404),
        ("row=-1&column=0", 422),
        ("row=1e9&column=0", 422),
    ],
)
def test_a_place_that_is_none_is_refused(tmp_path: Path, client: Client, query: str, status: int):
    put(tmp_path, with_observed())
    assert client().get(f"/point?{query}").status_code == status


def test_an_archive_without_a_grid_is_asked_by_row_and_column(tmp_path: Path, client: Client):
    put(tmp_path, with_observed(grid=None))
    asked = client()
    told = asked.get("/latest.json").json()
    assert told["map"] is None and told["places"] == [] and not told["has_grid"]
    assert any("does not state where" in text for text in told["credits"])
    assert asked.get("/point?lat=52&lon=5").status_code == 404
    assert asked.get("/point?row=0&column=1").json()["latitude"] is None


def test_the_map_is_lines_over_the_frame(tmp_path: Path, client: Client):
    put(tmp_path, with_observed(height=700, width=700, leads=2))
    asked = client()
    told = asked.get("/latest.json").json()
    answer = asked.get(told["map"])
    assert answer.headers["content-type"] == "image/svg+xml"
    assert 'viewBox="0 0 700 700"' in answer.text and answer.text.count("<polyline") > 50
    assert "Amsterdam" in {place["name"] for place in told["places"]}


def test_no_path_leads_out_of_the_folder(tmp_path: Path):
    out, other = tmp_path / "out", tmp_path / "20260702T0000"
    put(out, with_observed())
    put(tmp_path / "elsewhere", with_observed(init="2026-07-02T00:00"))
    (tmp_path / "elsewhere" / "20260702T0000").rename(other)
    (out / "20260702T0000").symlink_to(other)
    asked = TestClient(application(out))
    for address in (
        "/frames/../../../etc/passwd/rain/0.png",
        "/frames/%2e%2e/rain/0.png",
        "/frames/20260702T0000/rain/0.png",
        "/page/../health.json",
        "/health.json",
        "/20260701T2350/forecast.nc",
        "/docs",
        "/openapi.json",
        "/frames/20260701T2350/none/0.png",
        "/frames/20260701T2350/rain/5.png",
    ):
        assert asked.get(address).status_code == 404, address
    for name in ("../20260702T0000", "20260702T0000", 7):
        (out / "latest.json").write_text(f'{{"folder": {name!r}}}'.replace("'", '"'))
        told = TestClient(application(out)).get("/latest.json").json()
        assert "layers" not in told and told["health"]["fault"], name


def test_a_newer_forecast_that_is_damaged_leaves_the_one_before(tmp_path: Path):
    put(tmp_path, with_observed())
    clock = [0.0]
    from nowcast.serving.folder import Folder

    folder = Folder(tmp_path, lambda: clock[0])
    first = folder.state().content
    put(tmp_path, with_observed(init="2026-07-01T23:55"))
    whole = (tmp_path / "20260701T2355" / "forecast.nc").read_bytes()
    (tmp_path / "20260701T2355" / "forecast.nc").write_bytes(whole[:3000])
    assert folder.state().content is first  # it looks once a second
    clock[0] = 2.0
    found = folder.state()
    assert found.content is first and found.fault and str(tmp_path) not in found.fault
    (tmp_path / "20260701T2355" / "forecast.nc").write_bytes(whole)
    clock[0] = 4.0
    mended = folder.state()
    assert mended.content is not None and str(mended.content.init) == "2026-07-01T23:55"
    assert not mended.fault
    (tmp_path / "latest.json").write_text("{")
    clock[0] = 6.0
    assert folder.state().content is mended.content


def test_a_single_forecast_is_served_too(tmp_path: Path):
    from nowcast.precipitation.forecasting.products.written import write

    write(with_observed(), tmp_path / "out", ["nc"])
    told = TestClient(application(tmp_path / "out")).get("/latest.json").json()
    assert told["init"] == "2026-07-01T23:50Z"


def test_every_answer_has_safe_headers_and_only_reading_is_let_through(
    tmp_path: Path, client: Client
):
    put(tmp_path, with_observed())
    asked = client()
    answers = [asked.get(path) for path in ("/", "/page.js", "/latest.json", "/none")]
    answers += [asked.request(method, "/") for method in ("POST", "PUT", "DELETE", "OPTIONS")]
    answers += [
        asked.get(f"/point?lat={'1' * 2000}"),
        asked.request("GET", "/", content=b"x"),
    ]
    assert [answer.status_code for answer in answers] == [200] * 3 + [404] + [405] * 4 + [414, 413]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
    assert "inline" not in HEADERS["content-security-policy"]
    page = answers[0].text
    assert "style=" not in page and "<script>" not in page and "onclick" not in page
    assert "http://" not in page and "https://" not in page


def test_who_asks_too_often_is_told_to_wait(tmp_path: Path, client: Client):
    put(tmp_path, with_observed())
    asked = client(rate=2.0)
    found = [asked.get("/healthz").status_code for _ in range(14)]
    assert found[:10] == [200] * 10 and 429 in found
