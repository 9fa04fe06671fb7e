"""What a run keeps of the radar that it was trained on."""

from pathlib import Path

import pytest

from nowcast.core.errors import RunError
from nowcast.core.storage.runs import Run
from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.clips.trained_on import TrainedOn, seen_by, trained_on
from nowcast.precipitation.settings import DataSettings, SourceSettings, WindowSettings


def radar(name: str, step_minutes: int, km: float) -> Description:
    grid = Grid("+proj=laea +lat_0=55 +units=km", 0.0, 0.0, km, km)
    return Description(name, "the tests", step_minutes, 64, 64, 200.0, 1.6, grid=grid)


def test_one_archive():
    seen = seen_by(DataSettings(in_len=5, out_len=20), radar("a", 6, 1.0), [])
    assert seen == TrainedOn(("a",), 6, (6,), (5,), (20,), (1.0, 1.0))


def test_several_archives_at_several_speeds():
    data = DataSettings(
        sources=(
            SourceSettings(root=Path("a"), weight=6.0, speeds=(1, 1, 2)),
            SourceSettings(root=Path("b"), weight=0.5, speeds=(1, 3)),
            SourceSettings(root=Path("b"), weight=0.5),
        ),
        lengths=((10, 10), (5, 7)),
        random_crop=(32, 32),
        windows=(
            WindowSettings(side=32, coarsen=(1, 2, 4), fill=0.6),
            WindowSettings(side=64),
        ),
    )
    seen = seen_by(
        data, radar("root", 60, 9.0), [radar("a", 5, 1.0), radar("b", 2, 0.8), radar("b", 2, 0.8)]
    )
    assert seen.archives == ("a", "b")
    assert (seen.step_minutes, seen.steps_minutes) == (5, (2, 5, 6, 10))
    assert (seen.in_lens, seen.out_lens) == ((5, 10), (7, 10))
    assert seen.pixel_km == pytest.approx((0.8, 2.0))  # 64 pixels fill 32 twice, not four times


def test_what_is_the_same_needs_no_note_and_what_is_not_has_one():
    seen = TrainedOn(("a",), 5, (5, 10), (10,), (10,), (1.0, 2.0))
    assert seen.step_note("it", 5) is None
    assert seen.step_note("it", 10) == (
        "it was trained on frames 5 minutes apart (some 10), these are 10"
    )
    assert seen.step_note("it", 2.5) == (
        "it was trained on frames 5 minutes apart (some 10), these are 2.5"
    )
    assert [seen.pixel_note("it", km) for km in (None, 0.9, 1.0, 2.4)] == [None] * 4
    assert seen.pixel_note("it", 4) == "it was trained on pixels of 1 to 2 km, these have 4"


@pytest.mark.parametrize("text", ["no JSON", "[]", "{}", '{"archives": ["a"]}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str):
    run = Run(tmp_path)
    run.trained_on_file.write_text(text)
    with pytest.raises(RunError, match="expected what the weights were trained on"):
        trained_on(run, DataSettings())
