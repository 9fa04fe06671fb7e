"""`nowcast serve`: forecasts in a browser, from the folder that `watch` writes."""

import socket
from pathlib import Path
from typing import Annotated

import typer

serving = typer.Typer()

MOST_CONNECTIONS = 500
IDLE_SECONDS = 10
LARGEST_HEAD = 16 * 1024  # bytes; address and headers of a request


@serving.command()
def serve(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What watch or forecast has as --out.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
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
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except OSError as error:
        raise ConfigError(
            f"serve: expected to listen on {host}, port {port}, found that it cannot be "
            f"({error.strerror}); choose another --port, or --host"
        ) from error
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        h11_max_incomplete_event_size=LARGEST_HEAD,
    )
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"{folder} is served at http://{shown}:{port} (Ctrl-C ends it)")
    uvicorn.Server(config).run(sockets=[bound])
