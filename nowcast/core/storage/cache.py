"""The user's cache folder, for files derived from data; without it the results are the same."""

from pathlib import Path

import platformdirs


def cache_folder(kind: str) -> Path | None:
    """``nowcast/KIND`` in the user's cache folder (on Linux ``$XDG_CACHE_HOME``, else
    ``~/.cache``), which may not exist yet; None for a user without a home."""
    folder = platformdirs.user_cache_path("nowcast", appauthor=False)
    return folder / kind if folder.is_absolute() else None
