"""Name the pip command that installs an extra, and the folder of the user's cache."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embstore.base.errors import EmbstoreError, UsageError


@contextmanager
def needing(
    what: str, extra: str, kind: type[EmbstoreError] = UsageError, more: str = ""
) -> Iterator[None]:
    """Raise an error with the command to install an extra if a library cannot be imported within
    the context.
    """
    try:
        yield
    except ImportError as error:
        raise kind(
            f"{what}, which cannot be imported ({error}): {install_command(extra)}{more}"
        ) from error


def install_command(extra: str) -> str:
    """Return the pip command that installs an extra; embstore itself stays, wherever it was
    installed from.
    """
    return f"pip install 'embstore[{extra}]'"


def user_cache_folder(name: str) -> Path:
    """Return a folder of the user's cache for embstore, which may not exist.

    Args:
        name: Name of the folder: ``datasets`` or ``stores``.
    """
    import platformdirs  # most commands need none

    return platformdirs.user_cache_path("embstore", appauthor=False) / name
