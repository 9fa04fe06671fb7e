"""`nowcast config`: the configs that come with nowcast, and what a config may say."""

from pathlib import Path
from typing import Annotated

import typer

from nowcast.cli.arguments.overrides import Config, Overrides, parsed
from nowcast.core.terminal.tables import print_table

configs = typer.Typer(
    help="List, show and describe configs: those that come with nowcast, and their keys.",
    no_args_is_help=True,
)
Task = Annotated[str, typer.Argument(metavar="TASK", help="precipitation, glue or imagenet.")]


@configs.command("list")
def config_list() -> None:
    """List the configs that come with nowcast; each can be used by its name.

    Example: `nowcast config list`
    """
    from nowcast.api.shipped_configs import names, summary

    rows = [[name, path.parent.name, summary(path)] for name, path in names().items()]
    print_table(["name", "task", "what it is"], rows, text=(0, 1, 2))


@configs.command("show")
def config_show(
    config: Config,
    overrides: Overrides = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Every key with its value, defaults included.")
    ] = False,
) -> None:
    """Print a config as it is written or, with --resolved or overrides, with all defaults.

    Example: `nowcast config show smoke`

    Example: `nowcast config show smoke train.steps=100 > mine.yaml`
    """
    from nowcast.api.settings import read, settings_of
    from nowcast.api.shipped_configs import path_of
    from nowcast.core.storage.yaml_files import dumps

    content, source = read(config, parsed(overrides))
    settings = settings_of(content, source, {})
    if not resolved and not overrides:
        typer.echo(path_of(config).read_text(encoding="utf-8"), nl=False)
        return
    several = {key: content[key] for key in ("compare", "tune") if key in content}
    typer.echo(dumps(settings.model_dump(mode="json") | several), nl=False)


@configs.command("keys")
def config_keys(
    task: Task = "precipitation",
    within: Annotated[
        str, typer.Option("--within", metavar="SECTION", help="Only keys of this section.")
    ] = "",
) -> None:
    """List every key of a task's config with its type, default and meaning.

    Example: `nowcast config keys`, or `nowcast config keys precipitation --within memel`
    """
    from nowcast.api.config_keys import keys_of

    section = f"{within}." if within else ""
    rows = [key.row() for key in keys_of(task) if f"{key.name}.".startswith(section)]
    if not rows:
        from nowcast.core.errors import ConfigError

        sections = dict.fromkeys(key.name.partition(".")[0] for key in keys_of(task))
        raise ConfigError(f"--within: expected one of {', '.join(sections)}, found {within!r}")
    print_table(["key", "type", "default", "meaning"], rows, text=(0, 1, 2, 3))


@configs.command("schema")
def config_schema(
    task: Task = "precipitation",
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; without it, print.")
    ] = None,
) -> None:
    """Write the JSON Schema of a task's config, for completion and checks in an editor.

    With the YAML extension of VS Code and others, begin a config with
    `# yaml-language-server: $schema=PATH`.

    Example: `nowcast config schema precipitation --out precipitation.schema.json`
    """
    import json

    from nowcast.api.config_keys import schema_of
    from nowcast.core.storage.files import write_json

    if out is None:
        typer.echo(json.dumps(schema_of(task), indent=2, ensure_ascii=False))
    else:
        write_json(out, schema_of(task))
        typer.echo(f"{out}: written")
