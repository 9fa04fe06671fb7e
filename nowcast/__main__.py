"""`nowcast` and `python -m nowcast`, the latter e.g. under torchrun."""

import sys


def main() -> None:
    """Run the command line, or say what to install for it."""
    try:
        from nowcast.cli.app import main as run

        run()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("nowcast"):
            raise
        sys.exit(
            f"nowcast: this command needs {missing.name}, which is not installed; "
            "pip install 'memel-nowcast[radar]', or [glue], [imagenet], [export], [pysteps]"
        )


if __name__ == "__main__":
    main()
