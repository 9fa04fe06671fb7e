"""The doctor finds each kind of damage that is planted, nothing else, and is stopped by none."""

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.days import days_path
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import (
    FrameError,
    frame_path,
    mask_path,
    read_frame,
    read_mask,
    write_frame,
)
from nowcast.precipitation.archive.quarantine import read_quarantine
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.preparation.doctor import day as check_day
from nowcast.precipitation.preparation.doctor.check import check_archive
from nowcast.precipitation.preparation.doctor.findings import KINDS, Report
from tests.conftest import every
from tests.mutations import mutations

Run = Callable[..., tuple[int, str, str]]

FIRST = "2015-07-09T10:00"
DAYS = {"train": ("2015-07-09",), "valid": ("2015-07-12", "2015-07-13"), "test": ("2015-07-15",)}
SHAPE = (8, 8)
WHOLE = Description("tiny", "the tests", 6, *SHAPE, 58.53, 1.56)
PNG_DAY = "radarPNG/2015/07/09"
MASK_DAY = "radarPNG_mask/2015/07/09"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A whole archive of four days with five rainy frames each, of which no two are the same."""
    rng = np.random.default_rng(0)
    root = tmp_path / "whole"
    with ArchiveWriter(root, WHOLE) as writer:
        for days in DAYS.values():
            for day in days:
                for time in every(6, f"{day}T10:00", 5):
                    levels = rng.integers(0, 256, SHAPE, dtype=np.uint8)
                    writer.write(np.datetime64(time, "m"), levels, np.ones(SHAPE, dtype=bool))
        lists = {split: {day.replace("-", ""): 1.0 for day in days} for split, days in DAYS.items()}
        writer.finish(np.ones(SHAPE, dtype=bool), lists)  # type: ignore[arg-type]
    return root


def found(report: Report) -> list[tuple[str, str]]:
    return [(finding.kind, finding.where) for finding in report.findings]


def excluded(report: Report) -> list[str]:
    return sorted({str(line.moment) for line in report.excluded()})


def frame(root: Path, time: str) -> Path:
    return frame_path(root, np.datetime64(time, "m"))


def mask(root: Path, time: str) -> Path:
    return mask_path(root, np.datetime64(time, "m"))


@pytest.mark.parametrize("workers", [1, 3, None])
def test_a_whole_archive_has_no_findings(root: Path, workers: int | None):
    seen: list[tuple[int, int]] = []
    report = check_archive(root, workers=workers, progress=lambda *now: seen.append(now))
    assert found(report) == [] and not report.is_broken
    assert (report.frames, report.days) == (20, 4)
    assert seen == [(5, 20), (10, 20), (15, 20), (20, 20)]


def test_synthetic_rain_is_whole_and_its_days_are_neighbours(synthetic: Path):
    report = check_archive(synthetic)
    assert not report.is_broken
    kinds = [finding.kind for finding in report.findings]
    assert kinds == ["day with gaps"] * 3 + ["neighbours in two splits"] * 2


def test_real_radar_is_whole(radar_dev: Path):
    report = check_archive(radar_dev)
    assert found(report) == []
    assert report.frames == 212


def png(levels: np.ndarray) -> bytes:
    return cv2.imencode(".png", levels)[1].tobytes()


GREY = np.full(SHAPE, 200, dtype=np.uint8)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "unreadable frame"),
        (b"no PNG", "unreadable frame"),
        (png(GREY)[:-20], "unreadable frame"),
        (png(GREY)[:40] + b"\xff" + png(GREY)[41:], "unreadable frame"),
        (png(GREY[:-1]), "frame of another size"),
        (png(np.tile(GREY, (100, 100))), "frame of another size"),
        (png(GREY.astype(np.uint16)), "frame not 8-bit grey"),
        (png(np.dstack([GREY] * 3)), "frame not 8-bit grey"),
        (png(np.dstack([GREY] * 4)), "frame not 8-bit grey"),
    ],
)
def test_a_damaged_frame(root: Path, data: bytes, kind: str):
    frame(root, FIRST).write_bytes(data)
    report = check_archive(root)
    assert found(report) == [(kind, f"{PNG_DAY}/RAD150709100000.png")]
    assert report.is_broken and excluded(report) == [FIRST]
    assert str(root) not in report.findings[0].detail


@pytest.mark.parametrize(
    "data", [b"", b"text", zlib.compress(bytes(63)), zlib.compress(bytes(10**6))]
)
def test_a_damaged_mask(root: Path, data: bytes):
    mask(root, FIRST).write_bytes(data)
    report = check_archive(root)
    assert found(report) == [("bad mask", f"{MASK_DAY}/RAD150709100000.mask")]
    assert report.is_broken and excluded(report) == [FIRST]


def test_a_missing_mask_and_a_mask_without_frame(root: Path):
    mask(root, FIRST).rename(mask(root, "2015-07-09T11:00"))
    report = check_archive(root)
    assert found(report) == [
        ("missing mask", f"{MASK_DAY}/RAD150709100000.mask"),
        ("mask without frame", f"{MASK_DAY}/RAD150709110000.mask"),
    ]
    assert excluded(report) == [FIRST]


def test_no_masks_at_all_is_a_warning(root: Path):
    shutil.rmtree(root / "radarPNG_mask")
    (root / "hko_data/mask_dat.npz").unlink()
    report = check_archive(root)
    assert found(report) == [
        ("no masks", "radarPNG_mask"),
        ("no exclude mask", "mask_dat.npz"),
    ]
    assert not report.is_broken


def test_a_bad_exclude_mask(root: Path):
    (root / "hko_data/mask_dat.npz").write_bytes(b"PK")
    assert found(check_archive(root)) == [("bad exclude mask", "mask_dat.npz")]


def test_a_name_that_contradicts_its_folder_and_its_double(root: Path):
    other = root / PNG_DAY / "RAD150712100000.png"
    shutil.copy(frame(root, "2015-07-12T10:00"), other)
    shutil.copy(frame(root, FIRST), root / PNG_DAY / "RAD150710100000.png")
    shutil.copy(frame(root, FIRST), root / PNG_DAY / "RAD150709100000.PNG")
    report = check_archive(root)
    assert found(report) == [
        ("wrong folder", f"{PNG_DAY}/RAD150710100000.png"),
        ("moment twice", f"{PNG_DAY}/RAD150709100000.PNG"),
        ("moment twice", f"{PNG_DAY}/RAD150712100000.png"),
    ]
    assert excluded(report) == [FIRST, "2015-07-12T10:00"]


def test_a_day_that_is_none(root: Path):
    (root / "radarPNG/2015/02/30").mkdir(parents=True)
    (root / "radarPNG/2015/07/20").write_bytes(b"")
    assert found(check_archive(root)) == [
        ("wrong folder", "radarPNG/2015/02/30"),
        ("wrong folder", "radarPNG/2015/07/20"),
    ]


def test_times_off_the_grid(root: Path):
    levels = np.arange(64, dtype=np.uint8).reshape(SHAPE) * 4
    off = np.datetime64("2015-07-09T10:14", "m")
    write_frame(root, off, levels)
    shutil.copy(mask(root, FIRST), mask_path(root, off))
    (root / PNG_DAY / "RAD150709101830.png").write_bytes(png(levels))
    report = check_archive(root)
    assert found(report) == [
        ("off-grid time", f"{PNG_DAY}/RAD150709101830.png"),
        ("off-grid time", str(off)),
    ]
    assert excluded(report) == [str(off)]


def test_a_day_of_another_timetable_is_on_a_grid_of_its_own(write_archive: Callable[..., Path]):
    days = {"train": every(6, "2015-07-09T10:00", 9), "test": every(6, "2015-07-11T10:03", 5)}
    report = check_archive(write_archive(days))
    assert "off-grid time" not in [finding.kind for finding in report.findings]


def test_gaps_are_told(root: Path):
    for time in ("2015-07-09T10:06", "2015-07-09T10:12"):
        frame(root, time).unlink()
        mask(root, time).unlink()
    (finding,) = check_archive(root).findings
    assert (finding.kind, finding.where) == ("day with gaps", "20150709")
    assert finding.detail.startswith("3 of 5 frames from 10:00 to 10:24 UTC, up to 2 in a row")


def test_frozen_frames_are_told_with_their_run(root: Path):
    for time in ("2015-07-09T10:06", "2015-07-09T10:12", "2015-07-09T10:24"):
        before = str(np.datetime64(time, "m") - 6)
        shutil.copy(frame(root, before), frame(root, time))
    report = check_archive(root)
    assert found(report) == [
        ("frozen frames", "2015-07-09T10:06"),
        ("frozen frames", "2015-07-09T10:24"),
    ]
    assert report.findings[0].detail.startswith("2 frames in a row, to 2015-07-09T10:12 UTC")
    assert not report.is_broken and excluded(report) == []


def test_dry_frames_are_not_frozen_but_their_day_is_dry(root: Path):
    for time in every(6, FIRST, 5):
        write_frame(root, np.datetime64(time, "m"), np.full(SHAPE, 60, dtype=np.uint8))
    report = check_archive(root)  # level 60 is 0.14 mm/h
    assert found(report) == [("dry day", "20150709")]


def test_rain_under_a_mask_is_no_rain(root: Path):
    for time in every(6, FIRST, 5):
        mask(root, time).write_bytes(zlib.compress(bytes(64)))
    assert found(check_archive(root)) == [("dry day", "20150709")]


def test_a_rainy_frame_in_two_splits_is_leakage(root: Path):
    shutil.copy(frame(root, "2015-07-15T10:06"), frame(root, FIRST))
    shutil.copy(frame(root, "2015-07-12T10:06"), frame(root, "2015-07-13T10:00"))
    report = check_archive(root)
    assert found(report) == [("copied across splits", FIRST)]
    assert "2015-07-15T10:06" in report.findings[0].detail
    assert excluded(report) == [FIRST]


def test_frames_with_next_to_no_rain_may_be_equal(root: Path, monkeypatch: pytest.MonkeyPatch):
    clutter = np.zeros(SHAPE, dtype=np.uint8)

    def kinds(pixels: int) -> list[str]:
        clutter[3, :pixels] = 255
        for time in (FIRST, "2015-07-15T10:06"):
            write_frame(root, np.datetime64(time, "m"), clutter)
        return [finding.kind for finding in check_archive(root).findings]

    assert kinds(3) == []  # one of few such frames there are, however large their share
    assert kinds(4) == ["copied across splits"]
    monkeypatch.setattr(check_day, "RAINY_SHARE", 0.1)  # 8x8 pixels have no hundredth
    assert kinds(4) == []


def test_lists_with_a_day_twice_in_two_splits_or_malformed(root: Path):
    lists = root / "hko_data"
    days_path(lists, "train").write_text("20150709, 1\n20150709, 1\n20150715, 1\n20150720, 1\n")
    days_path(lists, "valid").write_bytes(b"\xff20150712, 1\n20150713, 1\nx\n")
    report = check_archive(root)
    assert found(report) == [
        ("bad day list", "hko_data/hko7_rainy_train_days.txt"),
        ("bad day list", "hko_data/hko7_rainy_valid_days.txt"),
        ("day in two splits", "20150715"),
        ("listed day without frames", "20150720"),
    ]
    assert report.findings[0].detail == "line 2: 20150709 stands twice; remove one"


def test_neighbours_are_told(root: Path):
    days_path(root / "hko_data", "valid").write_text("20150712, 1\n")
    days_path(root / "hko_data", "test").write_text("20150713, 1\n20150715, 1\n")
    report = check_archive(root)
    assert found(report) == [("neighbours in two splits", "20150712")]
    assert not report.is_broken


def test_one_list_absent_is_broken_and_none_a_warning(root: Path):
    days_path(root / "hko_data", "valid").unlink()
    report = check_archive(root)
    assert found(report) == [("bad day list", "hko_data/hko7_rainy_valid_days.txt")]
    assert report.is_broken
    for split in ("train", "test"):
        days_path(root / "hko_data", split).unlink()
    report = check_archive(root)
    assert found(report) == [("no day lists", "hko_data")] and not report.is_broken


def test_lists_may_lie_elsewhere(root: Path, tmp_path: Path):
    (root / "hko_data").rename(tmp_path / "lists")
    assert found(check_archive(root, tmp_path / "lists")) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        '{"name": 1}',
        WHOLE.to_json().replace('"height": 8', f'"height": {10**12}'),
        WHOLE.to_json().replace('"height": 8', '"height": true'),
        WHOLE.to_json().replace('"step_minutes": 6', f'"step_minutes": {10**30}'),
        WHOLE.to_json().replace("58.53", "Infinity"),
        WHOLE.to_json().replace("58.53", "0"),
        WHOLE.to_json().replace("58.53", "9" * 400),
        WHOLE.to_json().replace('"height": 8', '"height": 16, "height": 8'),
    ],
)
def test_a_bad_description_is_found_and_the_rest_is_checked(root: Path, text: str):
    assert text != WHOLE.to_json()
    (root / "archive.json").write_text(text)
    frame(root, FIRST).write_bytes(png(GREY[:-1]))
    report = check_archive(root)
    assert found(report) == [
        ("bad description", "archive.json"),
        ("frame of another size", f"{PNG_DAY}/RAD150709100000.png"),
    ]


def test_an_absurd_calibration_is_survived(root: Path):
    description = Description("t", "t", 6, *SHAPE, 1e-300, 1e-3)
    (root / "archive.json").write_text(description.to_json())
    assert not check_archive(root).is_broken


def test_without_a_description_the_commonest_size_is_the_archives(root: Path):
    (root / "archive.json").unlink()
    frame(root, FIRST).write_bytes(png(GREY[:-1]))
    report = check_archive(root)
    assert found(report) == [("frame of another size", f"{PNG_DAY}/RAD150709100000.png")]


def test_a_single_frame_without_a_description_has_no_step(tmp_path: Path):
    write_frame(tmp_path, np.datetime64(FIRST, "m"), GREY)
    kinds = [finding.kind for finding in check_archive(tmp_path).findings]
    assert kinds[0] == "bad description"


def test_strays_are_told_and_their_names_are_printable(root: Path):
    folder = os.fsencode(root / PNG_DAY)
    names = [b"Thumbs.db", b"[red]\x1b[31m.png", b"\xff\n.png"]
    for name in names:
        with open(folder + b"/" + name, "wb"):  # noqa: PTH123
            pass
    (root / "radarPNG/2015/7").mkdir()
    (root / "radarPNG_mask/notes.txt").write_text("")
    report = check_archive(root)
    assert [finding.kind for finding in report.findings] == ["stray file"] * 5
    text = json.dumps(report.content(), ensure_ascii=False)
    assert text.isprintable() and text.encode()
    assert "radarPNG/2015/7" in text and "notes.txt" in text and "\\\\udcff" in text


def test_all_unreadable_and_none_at_all(root: Path, tmp_path: Path):
    (root / "archive.json").unlink()
    for path in (root / "radarPNG").rglob("*.png"):
        path.write_bytes(b"")
    report = check_archive(root)
    assert [f.kind for f in report.findings if f.severity == "broken"] == ["unreadable frame"] * 20
    (tmp_path / "empty/radarPNG").mkdir(parents=True)
    assert found(check_archive(tmp_path / "empty"))[0] == ("no frames", "radarPNG")
    with pytest.raises(ConfigError, match="expected an archive with a radarPNG"):
        check_archive(tmp_path)


def test_pipes_and_links_to_nowhere_do_not_stop_it(root: Path):
    frame(root, FIRST).unlink()
    os.mkfifo(frame(root, FIRST))
    mask(root, FIRST).unlink()
    mask(root, FIRST).symlink_to(root / "nowhere")
    (root / "radarPNG/2015/07/20").symlink_to(root / "nowhere")
    assert found(check_archive(root)) == [
        ("unreadable frame", f"{PNG_DAY}/RAD150709100000.png"),
        ("bad mask", f"{MASK_DAY}/RAD150709100000.mask"),
        ("wrong folder", "radarPNG/2015/07/20"),
    ]


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_mutated_file_stops_it(root: Path, data: st.DataObject):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    kept = {path: path.read_bytes() for path in files}
    chosen = data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=4, unique=True))
    try:
        for path in chosen:
            path.write_bytes(data.draw(mutations())(kept[path]))
        report = check_archive(root)
        for path in chosen:
            where = str(path.relative_to(root))
            if path.suffix in (".png", ".mask") and path.read_bytes() != kept[path]:
                assert _is_whole(path) or where in [finding.where for finding in report.findings]
    finally:
        for path in chosen:
            path.write_bytes(kept[path])


def _is_whole(path: Path) -> bool:
    """Bytes after its end change no frame."""
    try:
        (read_frame if path.suffix == ".png" else read_mask)(path, SHAPE)
    except FrameError:
        return False
    return True


def test_the_command(run: Run, root: Path, tmp_path: Path):
    status, out, err = run("data", "check", root)
    assert status == 0, err
    assert "20 frames of 4 days checked; 0 broken, 0 warnings" in out
    frame(root, FIRST).write_bytes(b"")
    (root / PNG_DAY / "[red].png").write_bytes(b"")
    file, listed = tmp_path / "found.json", tmp_path / "quarantine.csv"
    options = ["--json", file, "--quarantine", listed, "--workers", 2]
    status, out, _ = run("data", "check", root, *options)
    assert status == 1
    assert "unreadable frame" in out and "[red].png" in out
    assert "1 broken, 1 warnings" in out
    content = json.loads(file.read_text())
    assert (content["frames"], content["broken"], content["warnings"]) == (20, 1, 1)
    assert content["findings"][0]["kind"] == "unreadable frame"
    assert set(content["findings"][0]) == {"kind", "severity", "where", "detail"}
    assert [str(moment) for moment in read_quarantine(listed)] == [FIRST]
    frame(root, FIRST).write_bytes(png(GREY))
    assert run("data", "check", root, "--quarantine", listed)[0] == 0
    assert len(read_quarantine(listed)) == 0
    assert run("data", "check", tmp_path / "none")[0] == 2
    assert run("data", "check", root, "--workers", 0)[0] == 2


def test_every_kind_is_planted_here():
    assert all(f'"{kind}"' in Path(__file__).read_text() for kind in KINDS)


def test_an_archive_opens_where_nothing_is_broken(root: Path):
    assert len(Archive(root).moments) == check_archive(root).frames


def test_the_doctor_finds_hko7_where_it_is_unpacked(root: Path, tmp_path: Path):
    """As `Archive` does: `hko_data/radarPNG` with the lists beside it."""
    clean = check_archive(root)
    place = tmp_path / "HKO-7" / "hko_data"
    place.parent.mkdir()
    root.rename(place)
    for path in (place / "hko_data").iterdir():
        path.rename(place / path.name)
    (place / "hko_data").rmdir()
    report = check_archive(tmp_path / "HKO-7")
    assert (report.frames, found(report)) == (clean.frames, found(clean))
