"""`python -m nowcast`, e.g. under torchrun."""

from nowcast.cli.app import main

main()
