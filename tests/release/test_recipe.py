"""The trainings of a release: which archives, which days, and which of them ships."""

from pathlib import Path

import pytest

from nowcast.core.settings import CompareSettings
from nowcast.precipitation.archive.days import days_path, read_days
from nowcast.precipitation.settings import PrecipitationSettings
from scripts.release import recipe
from scripts.release.sources import SOURCES, folder_name, radars


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """A folder of all archives with a day of each of their splits, and one that is none of them."""
    for source in SOURCES:
        for prefixes in (source.train, source.valid, source.test):
            for day in prefixes:
                whole = day + "20160101"[len(day) :]
                (tmp_path / source.name / "radarPNG" / whole[:4] / whole[4:6] / whole[6:]).mkdir(
                    parents=True, exist_ok=True
                )
    return tmp_path


def test_no_day_is_trained_on_and_scored():
    for source in SOURCES:
        days = {day for split in (source.train, source.valid, source.test) for day in split}
        there = {day + "20160101"[len(day) :] for day in days}
        splits = [set(source.days(split, there)) for split in ("train", "valid", "test")]
        assert sum(map(len, splits)) == len(set.union(*splits)), source.name
        assert set.union(*splits) == there
    assert len({source.name for source in SOURCES}) == len(SOURCES)
    assert "MeteoSwiss" not in radars()
    opened = dict.fromkeys(source.radar for source in SOURCES if source.train and source.open)
    assert list(opened) == ["DWD", "KNMI", "MRMS"]


def test_each_variant_trains_on_what_its_name_says(archives: Path, tmp_path: Path):
    made = recipe.release(archives, tmp_path / "synthetic", tmp_path / "lists")
    compare = CompareSettings.model_validate(made["compare"])
    of = {source.name: source for source in SOURCES}

    def sources(variant: str) -> list[str]:
        entries = compare.variants[variant].set["data.sources"]
        assert isinstance(entries, list)
        return [Path(entry["root"]).name for entry in entries]

    trained = [source.name for source in SOURCES if source.train]
    assert sources(recipe.ALL) == trained
    assert sources(recipe.OPEN) == [name for name in trained if of[name].open]
    for radar in radars():
        left = sources(recipe.WITHOUT + folder_name(radar))
        assert left and {of[name].radar for name in left} == set(radars()) - {radar}
    assert sources(f"{recipe.DAYS}9") == trained
    for name, variant in compare.variants.items():
        if not name.startswith(("P-MEmeL", recipe.FIRST, recipe.DAYS, recipe.MEMBERS)):
            first = compare.variants[variant.start_from or ""]
            assert variant.start_from == recipe.FIRST + name and first.start_from == "P-MEmeL"
            assert variant.set["data.sources"] == first.set["data.sources"]
            assert "data.min_wet" not in first.set and variant.set["data.min_wet"] == 0.001
    members = compare.variants[recipe.MEMBERS]
    assert members.start_from == recipe.ALL and sources(recipe.MEMBERS) == trained
    assert members.set["data.min_wet"] == 0.001 and members.set["loss.members"] == 3
    lists = tmp_path / "lists" / "dwd-3"
    assert list(read_days(days_path(lists, "train"))) == ["20180510", "20180513", "20180516"]
    for split in ("valid", "test"):
        assert not read_days(days_path(tmp_path / "lists" / "dwd", split))  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [None, 2])
def test_configs_are_valid(archives: Path, tmp_path: Path, steps: int | None):
    for make in (recipe.release, recipe.memel):
        config = make(archives, tmp_path / "synthetic", tmp_path / "lists")
        if steps is not None:
            config = recipe.shortened(config, steps)
        variants = config.pop("compare")["variants"]
        for variant in variants.values():
            sections = {**config}
            for key, value in variant.get("set", {}).items():
                section, name = key.split(".")
                sections[section] = {**(sections.get(section) or {}), name: value}
            settings = PrecipitationSettings.model_validate(sections)
            assert steps is None or settings.train.steps == steps


def test_archives_that_are_not_there_take_no_part(archives: Path, tmp_path: Path):
    (archives / "taasrad64").rename(archives / "elsewhere")
    made = recipe.release(archives, tmp_path / "synthetic", tmp_path / "lists")
    roots = [e["root"] for e in made["compare"]["variants"][recipe.ALL]["set"]["data.sources"]]
    assert not any("taasrad64" in root for root in roots)
    assert recipe.missing(archives) == ["taasrad64"]
