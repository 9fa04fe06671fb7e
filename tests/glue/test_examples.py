"""Every data set is read as it is distributed, its quirks included, and wrong rows are named."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from nowcast.core.errors import ConfigError, DataError
from nowcast.glue.benchmark import DATA_SETS, Part, data_set
from nowcast.glue.data.examples import Examples, file_of, read_examples
from tests.glue.glue_files import STSB_TEXT, mnli_rows, write, write_all
from tests.mutations import mutations


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("glue"))


def read(root: Path, name: str, part: Part = "train") -> Examples:
    return read_examples(root, data_set(name), part)


@pytest.mark.parametrize(
    ("name", "part", "first", "second", "labels"),
    [
        ("cola", "train", ("Our friends came.", "Friends our came."), None, (1, 0)),
        ("cola", "dev", ("The sailors rode.",), None, (1,)),
        ("cola", "test", ("Bill whistled.", "Whistled Bill past."), None, None),
        ("sst-2", "train", ('a "fine film ', "dull ", "warm "), None, (1, 0, 1)),
        ("sst-2", "test", ("uneasy mishmash .",), None, None),
        (
            "mrpc",
            "train",
            ('He said "no', "It rose."),
            ('"No," he said', "It fell 3 %."),
            (1, 0),
        ),
        ("mrpc", "test", ("Rates fell.",), ("Rates.",), None),
        ("sts-b", "train", ("A plane.",), ("A plane flies.",), (4.25,)),
        ("sts-b", "dev", ("A man.",), ("A dog.",), (0.0,)),
        ("sts-b", "test", ("A girl.",), ("A girl sings.",), None),
        ("qqp", "train", ("How?", "Who?"), ("Why?", "Who is it?"), (0, 1)),
        ("qqp", "test", ("Where?",), ("In which place?",), None),
        ("mnli", "train", ("A.", "C.", "E."), ("B.", "D.", "F."), (1, 0, 2)),
        ("mnli", "dev_matched", ("G.",), ("H.",), (1,)),
        ("mnli", "dev_mismatched", ("I.",), ("J.",), (0,)),
        ("mnli", "test_matched", ("K.",), ("L.",), None),
        ("mnli", "test_mismatched", ("M.",), ("N.",), None),
        ("qnli", "train", ("O?", "Q?"), ("P.", "R."), (0, 1)),
        ("rte", "dev", ("S?",), ("T.",), (1,)),
        ("wnli", "train", ("O?", "Q?"), ("P.", "R."), (0, 1)),
        ("ax", "test", ("The cat sat.",), ("The cat did not sit.",), None),
    ],
)
def test_what_is_read_is_what_was_distributed(
    glue: Path,
    name: str,
    part: Part,
    first: tuple[str, ...],
    second: tuple[str, ...] | None,
    labels: tuple[float, ...] | None,
):
    examples = read(glue, name, part)
    assert (examples.first, examples.second, examples.labels) == (first, second, labels)
    assert examples.index == tuple(range(len(first))) and examples.left_out == ()
    assert len(examples) == len(first)


def test_every_part_of_every_data_set_is_read(glue: Path):
    for found in DATA_SETS.values():
        for part in found.parts:
            examples = read_examples(glue, found, part)
            assert (examples.labels is None) == part.startswith("test")
            assert all(path.is_file() for path in file_of(glue, found, part))


def test_the_index_of_a_test_part_is_the_files_own(tmp_path: Path):
    write(tmp_path / "RTE/test.tsv", "index|sentence1|sentence2", "7|a|b", "3|c|d")
    assert read(tmp_path, "rte", "test").index == (7, 3)
    write(tmp_path / "QQP/test.tsv", "id|question1|question2", "20|a|b")
    assert read(tmp_path, "qqp", "test").index == (20,)


def test_mnli_without_an_agreed_label_is_left_out_and_told(tmp_path: Path):
    rows = mnli_rows(("A.", "B.", "-"), ("C.", "D.", "neutral"))
    path = write(tmp_path / "MNLI/train.tsv", *rows)
    examples = read(tmp_path, "mnli")
    assert (examples.first, examples.labels, examples.index) == (("C.",), (1,), (1,))
    (left_out,) = examples.left_out
    assert str(left_out) == f"{path}:2: gold_label is '-': no label"


def test_broken_rows_of_qqp_are_left_out_and_told(tmp_path: Path):
    path = write(
        tmp_path / "QQP/train.tsv",
        "id|qid1|qid2|question1|question2|is_duplicate",
        "1|1|2|How do I|",
        "|Why?|0",
        "2|3|4|How can I?||0",
        "3|5|6|Who?|Who is it?|1",
        "4|7|8| |What?|0",
    )
    examples = read(tmp_path, "qqp")
    assert (examples.first, examples.labels, examples.index) == (("Who?",), (1,), (3,))
    assert [(found.path, found.line) for found in examples.left_out] == [
        (path, line) for line in (2, 3, 4, 6)
    ]
    assert examples.left_out[0].why == "expected 6 columns, found 5"
    assert "empty" in examples.left_out[2].why


def test_a_broken_row_of_qqps_test_is_an_error_since_each_needs_a_prediction(tmp_path: Path):
    write(tmp_path / "QQP/test.tsv", "id|question1|question2", "0|a|b", "1|c")
    with pytest.raises(DataError, match=r"QQP/test\.tsv:3: expected 3 columns, found 2"):
        read(tmp_path, "qqp", "test")


MICROSOFT = [
    "Quality|#1 ID|#2 ID|#1 String|#2 String",
    "1|1|2|a|b",
    "0|2|1|c|d",
    "1|3|4|e|f",
    "0|5|6|g|h",
]


def test_mrpc_is_split_from_microsofts_files_in_their_order(tmp_path: Path):
    folder = tmp_path / "MRPC"
    write(folder / "msr_paraphrase_train.txt", *MICROSOFT, start=b"\xef\xbb\xbf", end="\r\n")
    write(folder / "dev_ids.tsv", "5|6", "1|2")
    write(folder / "msr_paraphrase_test.txt", MICROSOFT[0], "hidden|7|8|i|j", "hidden|9|9|k|l")
    train, dev, test = (read(tmp_path, "mrpc", part) for part in ("train", "dev", "test"))
    assert (train.first, train.second, train.labels) == (("c", "e"), ("d", "f"), (0, 1))
    assert (dev.first, dev.labels, dev.index) == (("a", "g"), (1, 0), (0, 1))
    assert (test.first, test.second) == (("i", "k"), ("j", "l"))
    assert (test.labels, test.index) == (None, (0, 1))
    names = [path.name for path in file_of(tmp_path, data_set("mrpc"), "dev")]
    assert names == ["msr_paraphrase_train.txt", "dev_ids.tsv"]

    write(folder / "train.tsv", MICROSOFT[0], "1|1|1|own|file")
    assert read(tmp_path, "mrpc").first == ("own",)
    with pytest.raises(DataError, match=r"expected dev\.tsv, or msr_paraphrase_train\.txt and"):
        read(tmp_path, "mrpc", "dev")


def test_ids_that_are_no_pairs_and_ids_of_nothing(tmp_path: Path):
    write(tmp_path / "MRPC/msr_paraphrase_train.txt", *MICROSOFT)
    write(tmp_path / "MRPC/dev_ids.tsv", "1|2", "3")
    with pytest.raises(DataError, match=r"dev_ids\.tsv:2: .*expected 2 columns, found 1"):
        read(tmp_path, "mrpc")
    write(tmp_path / "MRPC/dev_ids.tsv", "70|80")
    with pytest.raises(DataError, match=r"dev_ids\.tsv: expected examples of dev, found none"):
        read(tmp_path, "mrpc", "dev")


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        (
            "sst-2",
            ["sentence|label", "fine|1", "bad|2"],
            "3: .*'label': expected 0 or 1, found '2'",
        ),
        ("cola", ["a|1||b", "a|yes||b"], "2: column 'label': expected 0 or 1, found 'yes'"),
        ("rte", ["index|sentence1|sentence2|label", "0|a|b|neutral"], "2: .*found 'neutral'"),
        ("rte", ["index|sentence1|sentence2|label", "0|a||entailment"], "2: .*an empty one"),
        ("cola", ["a|1||  "], "1: expected text in every sentence"),
        ("rte", ["index|sentence1|sentence2|label", "0|a|b"], "2: expected 4 columns, found 3"),
        ("sst-2", ["sentence|label"], " expected examples of train, found none"),
        (
            "sts-b",
            ["|".join([*STSB_TEXT, "score"]), "0|||||||a|b|5.01"],
            "2: .*from 0 to 5.*'5.01'",
        ),
        ("sts-b", ["|".join([*STSB_TEXT, "score"]), "0|||||||a|b|nan"], "2: .*found 'nan'"),
        ("sts-b", ["|".join([*STSB_TEXT, "score"]), "0|||||||a|b|high"], "2: .*found 'high'"),
        ("qqp", ["id|question1|question2|is_duplicate", "0|a|b|-"], "2: .*expected 0 or 1"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(
    tmp_path: Path, name: str, rows: list[str], message: str
):
    path = write(tmp_path / data_set(name).title / "train.tsv", *rows)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}:{message}"):
        read(tmp_path, name)


@pytest.mark.parametrize("index", ["-1", "1.0", "", "²", "9" * 5000])
def test_an_index_is_a_number(tmp_path: Path, index: str):
    write(tmp_path / "RTE/test.tsv", "index|sentence1|sentence2", "0|a|b", f"{index}|a|b")
    with pytest.raises(DataError, match=r"RTE/test\.tsv:3: column 'index': "):
        read(tmp_path, "rte", "test")


def test_a_folder_is_found_in_any_case_and_may_be_given_itself(tmp_path: Path, glue: Path):
    write(tmp_path / "rte/train.tsv", "sentence1|sentence2|label", "a|b|entailment")
    write(tmp_path / "Diagnostic/diagnostic.tsv", "index|sentence1|sentence2", "0|a|b")
    assert len(read(tmp_path, "rte")) == len(read(tmp_path / "rte", "rte")) == 1
    assert len(read(tmp_path, "ax", "test")) == 1
    write(tmp_path / "RTE/train.tsv", "sentence1|sentence2|label", "a|b|entailment")
    with pytest.raises(DataError, match=r"one folder of RTE, found RTE and rte"):
        read(tmp_path, "rte")


def test_what_is_absent_is_told_with_what_is_there(tmp_path: Path):
    with pytest.raises(ConfigError, match="found no folder"):
        read(tmp_path / "none", "rte")
    write(tmp_path / "RTE/dev.tsv", "x")
    with pytest.raises(DataError, match=r"expected a folder SST-2 or SST2, found RTE"):
        read(tmp_path, "sst-2")
    with pytest.raises(DataError, match=r"RTE: expected train\.tsv, found dev\.tsv"):
        read(tmp_path, "rte")
    with pytest.raises(ConfigError, match=r"RTE has no part dev_matched; it has train, dev, test"):
        read(tmp_path, "rte", "dev_matched")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(mutate=mutations())
def test_a_damaged_file_is_read_or_is_a_data_error(tmp_path: Path, glue: Path, mutate):
    for name in ("QQP", "STS-B", "CoLA"):
        path = tmp_path / name / "train.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(mutate((glue / name / "train.tsv").read_bytes()))
        try:
            examples = read(tmp_path, name)
        except DataError as error:
            assert str(path) in str(error)
        else:
            assert len(examples.labels) == len(examples.first) == len(examples.index) > 0
