"""A conversion goes past damaged files where it may, and goes on in an archive that is there."""

import csv
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nowcast.precipitation.archive.days import days_path, write_days
from nowcast.precipitation.archive.frames import frame_path, mask_path
from nowcast.precipitation.archive.tree import Archive
from tests import ROOT
from tests.radar_files import write_knmi, write_odim

Run = Callable[..., tuple[int, str, str]]
SMOKE = ROOT / "configs" / "precipitation" / "smoke.yaml"
KNMI = ["--importer", "knmi"]


def write_hour(folder: Path, hour: int, count: int = 6, level: int = 50, no_data: int = 0) -> None:
    """KNMI sums of five minutes each; the first `no_data` of them lack their first column."""
    folder.mkdir(exist_ok=True)
    for n in range(count):
        raw = np.full((3, 4), level + n, dtype=np.uint16)
        if n < no_data:
            raw[:, 0] = 65535
        start, end = (f"26-AUG-2010;{hour:02}:{5 * m:02}:00.000" for m in (n, n + 1))
        write_knmi(folder / f"{hour:02}_{n}.h5", raw, start=start, end=end)


def cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def spoil(path: Path) -> None:
    """Damage what is compressed in a file, which opens as before."""
    import h5py

    with h5py.File(path) as file:
        at = file["image1/image_data"].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 12)


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_hour(tmp_path / "in", 5)
    return tmp_path / "in"


@pytest.mark.parametrize("damage", ["cut", "spoilt", "empty"])
@pytest.mark.parametrize("which", [0, 3])
def test_a_damaged_file_is_left_out_and_listed(
    run: Run, source: Path, tmp_path: Path, damage: str, which: int
):
    out, bad = tmp_path / "out", source / f"05_{which}.h5"
    if damage == "spoilt":
        spoil(bad)
    else:
        cut(bad, 0.5 if damage == "cut" else 0)
    assert run("data", "convert", source, out, *KNMI)[0] == 1 and not out.exists()
    status, said, err = run("data", "convert", source, out, *KNMI, "--skip-damaged")
    assert status == 0, err
    assert f"1 damaged left out: {bad}; see skipped.csv" in said and "5 frames of 3x4" in said
    header, row = csv.reader((out / "skipped.csv").read_text().splitlines())
    assert header == ["file", "reason"] and row[0] == str(bad) and row[1]
    assert any("1 damaged left out" in line for line in Archive(out).description.history)
    assert len(Archive(out).moments) == 5
    if which == 3:
        assert "1 missing within episodes" in said


def test_what_is_not_damaged_is_not_left_out(run: Run, source: Path, tmp_path: Path):
    write_knmi(source / "05_3.h5", np.zeros((5, 5), np.uint16), start="26-AUG-2010;05:15:00.000",
               end="26-AUG-2010;05:20:00.000")  # fmt: skip
    status, _, err = run("data", "convert", source, tmp_path / "out", *KNMI, "--skip-damaged")
    assert status == 1 and "expected 3x4 pixels" in err and not (tmp_path / "out").exists()


def test_where_nothing_can_be_read_that_is_said(run: Run, source: Path, tmp_path: Path):
    for path in source.iterdir():
        cut(path)
    status, _, err = run("data", "convert", source, tmp_path / "out", *KNMI, "--skip-damaged")
    assert status == 1 and "found 6 that cannot, the first" in err
    assert not (tmp_path / "out").exists()


def test_of_odim_too_and_many_names_are_counted(run: Run, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for n in range(10):
        path = tmp_path / "in" / f"{n}.h5"
        write_odim(path, np.full((3, 4), 20, np.uint8), time=f"10{5 * n:02}00")
        if n < 7:
            cut(path)
    options = ["--importer", "odim", "--zr", "200,1.6", "--skip-damaged"]
    status, said, err = run("data", "convert", tmp_path / "in", tmp_path / "out", *options)
    assert status == 0, err
    assert "7 damaged left out" in said and "and 2 more; see skipped.csv" in said
    assert len((tmp_path / "out" / "skipped.csv").read_text().splitlines()) == 8


def test_frames_are_added_and_those_there_are_left(run: Run, source: Path, tmp_path: Path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert run("data", "convert", source, out, *KNMI, "--append")[0] == 0  # nothing there yet
    lists = Archive(out).lists
    for split in ("train", "valid", "test"):
        write_days(lists, split, {})
    before = contents(out)
    write_hour(source, 7, no_data=1)
    status, _, err = run("data", "convert", source, out, *KNMI)
    assert status == 2 and "expected a new or empty folder" in err and "--append" in err
    status, said, err = run("data", "convert", source, out, *KNMI, "--append")
    assert status == 0, err
    assert "6 frames were there, 6 frames added of 3x4" in said
    assert "1 days in no day list, 20100826 the first" in said
    after = contents(out)
    assert all(after[name] == content for name, content in before.items() if "radar" in name)
    for split in ("train", "valid", "test"):
        days_path(lists, split).unlink()
    assert run("data", "convert", source, whole, *KNMI)[0] == 0
    one, other = Archive(out), Archive(whole)
    assert np.array_equal(one.moments, other.moments) and len(one.moments) == 12
    for moment in other.moments:
        assert np.array_equal(one.frame(moment), other.frame(moment))
        assert np.array_equal(one.mask(moment), other.mask(moment))
    assert np.array_equal(one.usable, other.usable)
    assert not one.usable[:, 0].any() and one.usable[:, 1:].all()  # 11 of 12 are not 95 %
    assert len(one.description.history) > len(other.description.history)
    status, said, _ = run("data", "convert", source, out, *KNMI, "--append")
    assert status == 0 and "12 frames were there, 0 frames added" in said
    assert Archive(out).description == one.description
    assert not list(tmp_path.glob("*.more*")) and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--zr", "200,1.6"], "with zr_a 58.53, found 200.0"),
        (["--crop", "0,2,0,4"], "with height 3, found 2"),
        (["--crop", "0,3,0,4", "--block-mean", "1", "--step", "10"], "expected times every 10"),
    ],
)
def test_other_frames_are_not_added(
    run: Run, source: Path, tmp_path: Path, change: list[str], said: str
):
    out = tmp_path / "out"
    assert run("data", "convert", source, out, *KNMI)[0] == 0
    before = contents(out)
    write_hour(source, 7)
    status, _, err = run("data", "convert", source, out, *KNMI, "--append", *change)
    assert status in (1, 2) and said in err
    assert contents(out) == before and not list(tmp_path.glob("*.more*"))


def test_a_changed_source_is_told_and_an_archive_of_something_else_refused(
    run: Run, source: Path, tmp_path: Path
):
    out = tmp_path / "out"
    assert run("data", "convert", source, out, *KNMI)[0] == 0
    before = contents(out)
    write_hour(source, 5, level=90)
    status, _, err = run("data", "convert", source, out, *KNMI, "--append")
    assert status == 1 and "RAD100826050500.png: expected the frame" in err
    assert contents(out) == before
    status, _, err = run("data", "convert", source, source, *KNMI, "--append")
    assert status == 2 and "found no archive.json" in err


def test_an_interrupted_append_leaves_whole_frames_and_goes_on(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert run("data", "convert", source, out, *KNMI)[0] == 0
    write_hour(source, 7)
    replace, moves = Path.replace, []

    def some(self: Path, target: Path) -> Path:
        if "out.more.part" in str(self):
            moves.append(target)
            if len(moves) > 6 + 3:  # all masks and three frames
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", some)
        status, _, err = run("data", "convert", source, out, *KNMI, "--append")
    assert status == 1 and "No space left on device" in err
    half = Archive(out)
    assert len(half.moments) == 9 and not list(tmp_path.glob("*.more*"))
    for moment in half.moments:
        assert half.frame(moment).shape == half.mask(moment).shape
    status, said, err = run("data", "convert", source, out, *KNMI, "--append")
    assert status == 0 and "9 frames were there, 3 frames added" in said, err
    assert run("data", "convert", source, whole, *KNMI)[0] == 0
    pictures = {n: c for n, c in contents(out).items() if "radar" in n}
    assert pictures == {n: c for n, c in contents(whole).items() if "radar" in n}


def test_damaged_files_can_be_left_out_while_adding(run: Run, source: Path, tmp_path: Path):
    out = tmp_path / "out"
    cut(source / "05_2.h5")
    assert run("data", "convert", source, out, *KNMI, "--skip-damaged")[0] == 0
    write_hour(source, 7)
    (source / "05_2.h5").unlink()
    cut(source / "07_1.h5")
    options = [*KNMI, "--skip-damaged", "--append"]
    status, said, err = run("data", "convert", source, out, *options)
    assert status == 0 and "5 frames were there, 5 frames added" in said, err
    names = [row[0] for row in csv.reader((out / "skipped.csv").read_text().splitlines())]
    assert names == ["file", str(source / "05_2.h5"), str(source / "07_1.h5")]


def test_the_share_of_the_archive_holds_for_what_is_added(run: Run, source: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert run("data", "convert", source, out, *KNMI, "--valid-share", 0.5)[0] == 0
    assert json.loads((out / "archive.json").read_text())["valid_share"] == 0.5
    write_hour(source, 7, no_data=6)
    assert run("data", "convert", source, out, *KNMI, "--append")[0] == 0
    assert Archive(out).usable.all()  # 6 of 12
    assert Archive(out).description.valid_share == 0.5
    assert frame_path(out, Archive(out).moments[-1]).is_file()
    assert mask_path(out, Archive(out).moments[-1]).is_file()


def test_each_step_names_the_next(run: Run, source: Path, tmp_path: Path):
    out = tmp_path / "my radar"  # quoted where a shell needs it
    status, said, _ = run("data", "convert", source, out, *KNMI)
    assert status == 0 and f"next: nowcast forecast '{out}' --out '{out}-forecast', " in said
    assert f"nowcast data days '{out}', " in said
    for command in (
        ["evaluate", "persistence", "--data", out],
        ["train", SMOKE, f"data.root={out}", "--run", tmp_path / "run"],
    ):
        status, _, err = run(*command)
        assert status == 2 and f"`nowcast data days '{out}'`" in err
    status, _, err = run("data", "days", out, "--threshold-mm", 999)
    assert status == 2 and "lower --threshold-mm" in err
    status, _, err = run("data", "days", out, "--threshold-mm", 0)
    assert status == 2 and "--threshold-mm" in err and "--all" in err
    assert run("data", "days", out, "--all", "test")[0] == 0
