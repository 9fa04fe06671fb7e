"""Where derived files are kept: in the user's cache folder, never beside the data they come from.

A cache is best effort: absent, unwritable or damaged, it costs time and never a result.
"""

from pathlib import Path

import platformdirs


def cache_folder(kind: str) -> Path | None:
    """``nowcast/KIND`` in the user's cache folder (``$XDG_CACHE_HOME``, else ``~/.cache``, on
    Linux); None where there is none, as for a user without a home. It need not exist yet."""
    folder = platformdirs.user_cache_path("nowcast", appauthor=False)
    return folder / kind if folder.is_absolute() else None
