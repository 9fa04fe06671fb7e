"""`python -m nowcast`, e.g. under torchrun."""

from nowcast.cli import main

main()
