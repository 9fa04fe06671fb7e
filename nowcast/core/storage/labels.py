"""What forecasters and comparisons are called on a page: a short name, never a whole path."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nowcast.core.errors import ConfigError
from nowcast.core.storage import yaml_files

SEED = re.compile(r"seed\d+")  # folder of a run within that of its variant


def split_label(text: str, sections: Collection[str] = ()) -> tuple[str | None, str]:
    """Name and source of an argument ``NAME=SOURCE``; the name of a plain ``SOURCE`` is None.

    Args:
        text: of the command line.
        sections: top-level keys of a config: with one of them, or with a dotted key, the argument
            is a change of the config and no name.
    """
    name, equals, source = text.partition("=")
    if not equals or Path(text).is_dir() or not name or name in sections or "." in name:
        return None, text
    try:
        is_text = isinstance(yaml_files.loads(source), str)
    except yaml_files.YamlError:
        is_text = True
    return (name, source) if is_text or Path(source).is_dir() else (None, text)


def is_forecaster(text: str) -> bool:
    """Whether an argument without a name is a forecaster, and no change of the config."""
    return "=" not in text or Path(text).is_dir()


def labels(sources: Sequence[tuple[str | None, str]]) -> dict[str, str]:
    """Label -> source: the given name, or of a folder its own and of anything else itself.

    A run in ``VARIANT/seed0`` is called that. Folders of the same name are told apart by as many of
    the folders above them as it takes.

    Args:
        sources: name (None: none is given) and source, as `split_label` finds them.

    Raises:
        ConfigError: the same name or source is given twice.
    """
    given = [name or source for name, source in sources if name or not Path(source).is_dir()]
    if twice := sorted({label for label in given if given.count(label) > 1}):
        raise ConfigError(
            f"expected each forecaster once, found {', '.join(twice)} twice; leave one out, or "
            "name it: NAME=FORECASTER"
        )
    folders = [Path(source).resolve() for name, source in sources if name is None]
    unnamed = [folder for folder in folders if folder.is_dir()]
    if same := sorted({str(folder) for folder in unnamed if unnamed.count(folder) > 1}):
        raise ConfigError(
            f"expected each folder once, found {', '.join(same)} twice; leave one out, or name "
            "it: NAME=FOLDER"
        )
    short = _shortest({folder: folder.parts for folder in unnamed}, given)
    return {
        name or (short[Path(source).resolve()] if Path(source).is_dir() else source): source
        for name, source in sources
    }


def _shortest(folders: Mapping[Path, tuple[str, ...]], taken: Collection[str]) -> dict[Path, str]:
    """Of each folder as few of its last parts as tell it from the others and from what is taken."""
    found = {}
    for folder, parts in folders.items():
        least = 2 if SEED.fullmatch(folder.name) else 1
        for count in range(min(least, len(parts)), len(parts) + 1):
            label = "/".join(parts[-count:])
            others = [other[-count:] for each, other in folders.items() if each != folder]
            if label not in taken and parts[-count:] not in others:
                break
        found[folder] = label
    return found
