"""GLUE's tables: what the paper and the leaderboard state."""

import pytest

from nowcast.core.errors import ConfigError
from nowcast.glue.benchmark import DATA_SETS, data_set


def test_the_leaderboard_gets_eleven_files_each_from_one_test_part():
    files = {
        layout.leaderboard: part
        for found in DATA_SETS.values()
        for part, layout in found.parts.items()
        if layout.leaderboard is not None
    }
    titles = {found.title for found in DATA_SETS.values()} - {"MNLI"} | {"MNLI-m", "MNLI-mm"}
    assert set(files) == {f"{title}.tsv" for title in titles} and len(files) == 11
    assert (files["MNLI-m.tsv"], files["MNLI-mm.tsv"]) == ("test_matched", "test_mismatched")
    assert all(part.startswith("test") for part in files.values())


@pytest.mark.parametrize(
    ("name", "train", "dev", "test"),
    [
        ("cola", [8551], [1043], [1063]),
        ("sst-2", [67349], [872], [1821]),
        ("mrpc", [3668], [408], [1725]),
        ("sts-b", [5749], [1500], [1379]),
        ("qqp", [363846], [40430], [390965]),
        ("mnli", [392702], [9815, 9832], [9796, 9847]),
        ("qnli", [104743], [5463], [5463]),
        ("rte", [2490], [277], [3000]),
        ("wnli", [635], [71], [146]),
        ("ax", [], [], [1104]),
    ],
)
def test_the_published_numbers(name: str, train: list[int], dev: list[int], test: list[int]):
    found = data_set(name)
    published = [
        [found.layout(part).published for part in found.parts_of(kind)]
        for kind in ("train", "dev", "test")
    ]
    assert published == [train, dev, test]


def test_labels_are_hidden_in_test_alone_and_classes_are_in_the_known_order():
    for found in DATA_SETS.values():
        for part, layout in found.parts.items():
            is_test = part.startswith("test")
            assert (layout.label is None, layout.index is not None) == (is_test, is_test)
    assert DATA_SETS["mnli"].words == ("entailment", "neutral", "contradiction")
    assert DATA_SETS["ax"].words == DATA_SETS["mnli"].words
    assert DATA_SETS["rte"].words == DATA_SETS["qnli"].words == ("entailment", "not_entailment")
    assert [name for name, found in DATA_SETS.items() if found.words is None] == ["sts-b"]


def test_a_name_in_any_case_and_the_nearest_of_a_wrong_one():
    assert data_set("MNLI") is DATA_SETS["mnli"]
    with pytest.raises(ConfigError, match=r"found 'sst2'; did you mean sst-2\?"):
        data_set("sst2")
    with pytest.raises(ConfigError, match=r"GLUE has cola, .*, ax, found '1234'$"):
        data_set("1234")
