"""Tiny folders in the layout that GLUE's data sets are distributed in."""

from pathlib import Path

NUMBERED = ("index", "promptID", "pairID", "genre")
PARSES = tuple(f"sentence{n}_{kind}" for kind in ("binary_parse", "parse") for n in (1, 2))
MNLI_TEXT = (*NUMBERED, *PARSES, "sentence1", "sentence2")
STSB_FRONT = ("index", "genre", "filename", "year", "old_index", "source1", "source2")
STSB_TEXT = (*STSB_FRONT, "sentence1", "sentence2")


def write(path: Path, *rows: str, end: str = "\n", start: bytes = b"") -> Path:
    """Write rows whose columns are parted by `|` here and by tabs in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(row.replace("|", "\t") + end for row in rows)
    path.write_bytes(start + text.encode())
    return path


def mnli_rows(*rows: tuple[str, str, str], labels: tuple[str, ...] = ("label1",)) -> list[str]:
    """MNLI's lines: a header, then rows of two sentences and a gold label ("" in test)."""
    with_label = [*labels, "gold_label"] if rows[0][2] else []
    lines = ["|".join([*MNLI_TEXT, *with_label])]
    for number, (first, second, gold) in enumerate(rows):
        front = [str(number), "31193", "31193n", "fiction", "( a", "( b", "(ROOT a", "(ROOT b"]
        given = ["neutral"] * len(labels) + [gold] if gold else []
        lines.append("|".join([*front, first, second, *given]))
    return lines


def write_all(root: Path) -> Path:
    """All ten data sets, a few rows each."""
    write(root / "CoLA/train.tsv", "gj04|1||Our friends came.", "gj04|0|*|Friends our came.")
    write(root / "CoLA/dev.tsv", "gj04|1||The sailors rode.")
    write(root / "CoLA/test.tsv", "index|sentence", "0|Bill whistled.", "1|Whistled Bill past.")

    write(root / "SST-2/train.tsv", "sentence|label", 'a "fine film |1', "dull |0", "warm |1")
    write(root / "SST-2/dev.tsv", "sentence|label", "it 's charming . |1")
    write(root / "SST-2/test.tsv", "index|sentence", "0|uneasy mishmash .")

    header = "Quality|#1 ID|#2 ID|#1 String|#2 String"
    rows = ['1|7|8|He said "no|"No," he said', "0|9|10|It rose.|It fell 3 %."]
    write(root / "MRPC/train.tsv", header, *rows, start=b"\xef\xbb\xbf", end="\r\n")
    write(root / "MRPC/dev.tsv", header, "1|11|12|Shares rose.|Shares went up.")
    write(root / "MRPC/test.tsv", header.replace("Quality", "index"), "0|13|14|Rates fell.|Rates.")

    stsb, front = "|".join(STSB_TEXT), "0|main-captions|MSRvid|2012|1|none|none"
    write(root / "STS-B/train.tsv", f"{stsb}|score", f"{front}|A plane.|A plane flies.|4.25")
    write(root / "STS-B/dev.tsv", f"{stsb}|score", f"{front}|A man.|A dog.|0.000")
    write(root / "STS-B/test.tsv", stsb, f"{front}|A girl.|A girl sings.")

    qqp = "id|qid1|qid2|question1|question2|is_duplicate"
    write(root / "QQP/train.tsv", qqp, "133273|1|2|How?|Why?|0", "402555|3|4|Who?|Who is it?|1")
    write(root / "QQP/dev.tsv", qqp, "201359|5|6|When?|At what time?|1")
    write(root / "QQP/test.tsv", "id|question1|question2", "0|Where?|In which place?")

    labelled = mnli_rows(
        ("A.", "B.", "neutral"), ("C.", "D.", "entailment"), ("E.", "F.", "contradiction")
    )
    write(root / "MNLI/train.tsv", *labelled)
    five = tuple(f"label{number}" for number in range(1, 6))
    write(root / "MNLI/dev_matched.tsv", *mnli_rows(("G.", "H.", "neutral"), labels=five))
    write(root / "MNLI/dev_mismatched.tsv", *mnli_rows(("I.", "J.", "entailment"), labels=five))
    write(root / "MNLI/test_matched.tsv", *mnli_rows(("K.", "L.", "")))
    write(root / "MNLI/test_mismatched.tsv", *mnli_rows(("M.", "N.", "")))

    for title, columns, words in (
        ("QNLI", "question|sentence", ("entailment", "not_entailment")),
        ("RTE", "sentence1|sentence2", ("entailment", "not_entailment")),
        ("WNLI", "sentence1|sentence2", ("0", "1")),
    ):
        header = f"index|{columns}|label"
        write(root / title / "train.tsv", header, f"0|O?|P.|{words[0]}", f"1|Q?|R.|{words[1]}")
        write(root / title / "dev.tsv", header, f"0|S?|T.|{words[1]}")
        write(root / title / "test.tsv", f"index|{columns}", "0|U?|V.", "1|W?|X.")

    write(root / "AX/AX.tsv", "index|sentence1|sentence2", "0|The cat sat.|The cat did not sit.")
    return root
