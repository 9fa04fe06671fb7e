"""Trained weights at Hugging Face: `hf://OWNER/NAME[@REVISION]`, as a run's folder has them.

A repository holds a run's `best.safetensors` and `config.yaml`, and a model card. Nothing is
unpickled and no code of a repository runs. The package huggingface_hub is optional.
"""

import re
import shutil
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.storage.runs import Run
from nowcast.core.storage.yaml_files import dumps

SCHEME = "hf://"
CARD = "README.md"
FILES = ("config.yaml", "best.safetensors", "trained_on.json", "origin.json", CARD)
NAME = re.compile(r"hf://(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>\S+))?")


def is_at_hub(name: str) -> bool:
    """Whether a name is one of Hugging Face."""
    return name.startswith(SCHEME)


def fetched(name: str) -> Run:
    """The run at Hugging Face, in its local cache; what is there already is not fetched again.

    With ``HF_HUB_OFFLINE=1`` only the cache is read.

    Args:
        name: ``hf://OWNER/NAME``, with ``@REVISION`` for a branch, tag or commit.

    Raises:
        ConfigError: not such a name, huggingface_hub is not installed, or the repository cannot be
            fetched or holds no weights of nowcast.
    """
    repository, revision = _parts(name)
    hub, errors = _library()
    try:
        folder = hub.snapshot_download(repository, revision=revision, allow_patterns=list(FILES))
    except errors as error:
        raise ConfigError(
            f"{name}: cannot be fetched from Hugging Face ({_first_line(error)}); check name and "
            "connection, or give the folder of a run. With HF_HUB_OFFLINE=1 only what was fetched "
            "before is there"
        ) from error
    run = Run(Path(folder))
    lacking = [path.name for path in (run.config_file, run.best_weights) if not path.is_file()]
    if lacking:
        raise ConfigError(
            f"{name}: expected weights of nowcast (config.yaml and best.safetensors), found no "
            f"{' and no '.join(lacking)}; choose another repository"
        )
    return run


def push(run: Run, name: str, *, private: bool = False, licence: str | None = None) -> str:
    """Upload a run's best weights, config and card; makes the repository where there is none.

    The token is that of `hf auth login` or of HF_TOKEN.

    Args:
        run: a run that has been validated.
        name: ``hf://OWNER/NAME``, with ``@REVISION`` for a branch that is there.
        private: make a new repository private.
        licence: of the weights, for the card, e.g. ``bsd-3-clause``; a card in the run's folder is
            uploaded as it is.

    Returns:
        the address of the upload.

    Raises:
        ConfigError: as `fetched`, or the upload is refused.
        RunError: the run has no weights.
    """
    repository, revision = _parts(name)
    if not run.best_weights.is_file():
        raise RunError(
            f"{run.folder}: expected {run.best_weights.name}, found none; train at least to its "
            "first validation"
        )
    hub, errors = _library()
    with TemporaryDirectory() as folder:
        for path in (run.folder / name for name in FILES):
            if path.is_file():
                shutil.copy(path, folder)
        card = Path(folder) / CARD
        if not card.is_file():
            card.write_text(model_card(run, repository, licence), encoding="utf-8")
        try:
            hub.create_repo(repository, private=private, exist_ok=True)
            done = hub.upload_folder(
                repo_id=repository,
                folder_path=folder,
                revision=revision,
                commit_message="Weights of nowcast",
            )
        except errors as error:
            raise ConfigError(
                f"{name}: cannot be uploaded ({_first_line(error)}); log in with `hf auth login`, "
                "and check that the name is yours"
            ) from error
    return str(getattr(done, "commit_url", done))


def model_card(run: Run, repository: str, licence: str | None = None) -> str:
    """A model card in Markdown: how to use the weights, what they were trained on, their config.

    Args:
        run: whose weights they are.
        repository: ``OWNER/NAME``.
        licence: of the weights; None leaves it out.
    """
    config = run.config()
    head = {"library_name": "nowcast", "tags": ["precipitation-nowcasting", "weather-radar"]}
    if config.get("task") != "precipitation":
        head["tags"] = [str(config.get("task"))]
    if licence is not None:
        head["license"] = licence
    lines = [f"---\n{dumps(head)}---\n", f"# {repository.partition('/')[2]}\n"]
    lines.append(
        "Weights for [nowcast](https://pypi.org/project/memel-nowcast/):\n\n```python\n"
        f'import nowcast\n\nforecaster = nowcast.load("{SCHEME}{repository}")\n```\n'
    )
    if run.trained_on_file.is_file():
        text = run.trained_on_file.read_text(encoding="utf-8").strip()
        lines.append(f"## Trained on\n\n```json\n{text}\n```\n")
    if run.is_finished:
        result = run.result()
        lines.append(
            f"Best at step {result['best_step']} of {result['steps']}: "
            f"{' + '.join(result['objective'])} {result['best_objective']:.5g} on validation.\n"
        )
    lines.append(f"## Config\n\n```yaml\n{dumps(config)}```\n")
    return "\n".join(lines)


def _parts(name: str) -> tuple[str, str | None]:
    match = NAME.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"expected hf://OWNER/NAME or hf://OWNER/NAME@REVISION, found {name!r}; write it so"
        )
    return match["name"], match["revision"]


def _library() -> tuple[Any, tuple[type[Exception], ...]]:
    """huggingface_hub, and what it raises where something cannot be had."""
    try:
        hub = import_module("huggingface_hub")
        errors = import_module("huggingface_hub.errors")
    except ImportError as error:
        raise ConfigError(
            f"expected the package huggingface_hub for names that begin with {SCHEME}, found none; "
            "install it with `pip install huggingface_hub`"
        ) from error
    # LocalEntryNotFoundError and OfflineModeIsEnabled are OSErrors or this.
    return hub, (errors.HfHubHTTPError, errors.HFValidationError, OSError)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
