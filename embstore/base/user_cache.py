"""Where embstore keeps what it can make or fetch again."""

from pathlib import Path


def folder(name: str) -> Path:
    """Return a folder of the user's cache for embstore, which may not exist.

    Args:
        name: Name of the folder: ``datasets`` or ``stores``.
    """
    import platformdirs  # most commands need none

    return platformdirs.user_cache_path("embstore", appauthor=False) / name
