"""`nowcast serve`: forecasts in a browser, from the folder that `watch` writes."""

from pathlib import Path
from typing import Annotated

import typer

serving = typer.Typer()

MOST_CONNECTIONS = 500
IDLE_SECONDS = 10


@serving.command()
def serve(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What watch or forecast has as --out.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    max_age: Annotated[
        float, typer.Option(min=1, help="Minutes; an older forecast is called too old.")
    ] = 30.0,
    rate: Annotated[
        float, typer.Option(min=1, help="Requests a second that one address may make.")
    ] = 100.0,
) -> None:
    """Serve the newest forecast as a page, and as JSON for programs; nothing is written.

    Example: `nowcast serve forecasts --port 8000`, then open http://127.0.0.1:8000
    """
    from nowcast.core.errors import ConfigError

    try:
        import uvicorn

        from nowcast.serving.app import application
    except ImportError as error:
        raise ConfigError(
            "serve: expected the packages fastapi and uvicorn, found them missing; install them "
            "with `pip install 'memel-nowcast[serve]'`"
        ) from error
    app = application(folder, max_age, rate)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        h11_max_incomplete_event_size=16 * 1024,
    )
