"""The configs that come with nowcast, by name: `nowcast train smoke`."""

import re
from functools import cache
from pathlib import Path

from nowcast.core.errors import ConfigError
from nowcast.core.terminal.hints import did_you_mean

PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE / "configs", PACKAGE.parent / "configs")  # of a wheel, of a checkout
SUFFIX = ".yaml"
SENTENCE_END = re.compile(r"(?<!\bal)\.(?:\s|$)")  # and not that of "et al."


@cache
def names() -> dict[str, Path]:
    """Name -> file, by task and then by name.

    Raises:
        ConfigError: the package was installed without them.
    """
    for folder in FOLDERS:
        files = sorted(folder.glob(f"*/*{SUFFIX}"))
        if files:
            return {file.stem: file for file in files}
    raise ConfigError(
        f"expected the configs of nowcast in {FOLDERS[0]}, found none; install nowcast again, or "
        "give the path of a YAML file"
    )


def path_of(config: str | Path) -> Path:
    """The file of a config: of a path itself, of a name the one that comes with nowcast.

    A text is a path if it ends in ``.yaml`` or contains a slash.

    Raises:
        ConfigError: there is no config of that name.
    """
    path = Path(config)
    if path.suffix == SUFFIX or len(path.parts) > 1 or str(config).startswith("./"):
        return path
    if path.name not in names():
        raise ConfigError(
            f"{config}: expected a path (with a slash, or ending in {SUFFIX}) or the name of a "
            f"config, one of {', '.join(names())}{did_you_mean(path.name, names())}"
        )
    return names()[path.name]


def summary(path: Path) -> str:
    """The first sentence of the comment at the top of a config."""
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return SENTENCE_END.split(" ".join(comment), maxsplit=1)[0]
