"""What each module of the package is held to; folders as in the package."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Of the checkout."""
