"""Which files hold a part of a data set, in a folder as GLUE's download script leaves it."""

from pathlib import Path

from nowcast.core.errors import ConfigError, DataError
from nowcast.glue.benchmark import DataSet, Part

# The files GLUE's script makes MRPC from: Microsoft's, and the pairs that are dev.
MICROSOFT: dict[Part, tuple[str, ...]] = {
    "train": ("msr_paraphrase_train.txt", "dev_ids.tsv"),
    "dev": ("msr_paraphrase_train.txt", "dev_ids.tsv"),
    "test": ("msr_paraphrase_test.txt",),
}


class Absent(DataError):
    """A data set or a part of one that is not there."""


def folder_of(root: Path, data_set: DataSet) -> Path:
    """The folder of a data set: one in `root`, or `root` itself where it has its name.

    Raises:
        ConfigError: `root` is no folder.
        Absent: the data set is not in it.
        DataError: it is there twice.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: expected a folder with GLUE's data sets, found no folder")
    names = {name.lower() for name in data_set.folders}
    found = [path for path in sorted(root.iterdir()) if path.name.lower() in names]
    folders = [path for path in found if path.is_dir()]
    if len(folders) > 1:
        raise DataError(
            f"{root}: expected one folder of {data_set.title}, found "
            f"{' and '.join(path.name for path in folders)}; remove one"
        )
    if folders:
        return folders[0]
    if root.resolve().name.lower() in names:
        return root
    raise Absent(
        f"{root}: expected a folder {' or '.join(data_set.folders)}, found {_there(root)}; put "
        f"GLUE's {data_set.title} there"
    )


def file_of(root: Path, data_set: DataSet, part: Part) -> tuple[Path, ...]:
    """The files that a part is read from: one, or two where MRPC comes as Microsoft has it.

    Raises:
        ConfigError: `root` is no folder, or the data set has no such part.
        Absent: the data set or the part is not there.
        DataError: the data set is there twice.
    """
    layout = data_set.layout(part)
    folder = folder_of(root, data_set)
    for name in layout.files:
        if (folder / name).is_file():
            return (folder / name,)
    expected = " or ".join(layout.files)
    if data_set.name == "mrpc":
        files = tuple(folder / name for name in MICROSOFT[part])
        made = part == "test" or not (folder / "train.tsv").exists()
        if made and all(path.is_file() for path in files):
            return files
        expected += f", or {' and '.join(MICROSOFT[part])}"
    raise Absent(f"{folder}: expected {expected}, found {_there(folder)}")


def _there(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:20]) + (" ..." if len(names) > 20 else "") if names else "nothing"
