"""Build the pip command that installs an extra from wherever embstore was installed from."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from embstore.base.errors import EmbstoreError, UsageError


@contextmanager
def needing(what: str, extra: str, kind: type[EmbstoreError] = UsageError, more: str = "") -> Iterator[None]:
    """Raise an error with the command to install an extra if a library cannot be imported within the context."""
    try:
        yield
    except ImportError as error:
        raise kind(f"{what}, which cannot be imported ({error}): {install_command(extra)}{more}") from error


def install_command(extra: str) -> str:
    """Return the pip command that installs an extra, from the place that embstore itself was installed from.

    The place is a package index, a folder, an archive or a repository.

    Args:
        extra: Name of the extra, such as ``build``.
    """
    try:
        requirement, is_editable = _requirement(distribution("embstore"), extra)
    except PackageNotFoundError:  # run from its source tree, without an installation
        requirement, is_editable = f"embstore[{extra}]", False
    return f"pip install {'-e ' if is_editable else ''}{shlex.quote(requirement)}"


def _requirement(installed: Distribution, extra: str) -> tuple[str, bool]:
    """Return the requirement for pip, and whether the installation is editable."""
    requirement = f"embstore[{extra}]"
    origin: dict[str, Any] = json.loads(installed.read_text("direct_url.json") or "{}")
    url = origin.get("url", "")
    if "dir_info" in origin and url.startswith("file://"):
        from urllib.parse import urlparse
        from urllib.request import url2pathname

        folder = url2pathname(urlparse(url).path)
        return f"{folder}[{extra}]", bool(origin["dir_info"].get("editable"))
    if vcs := origin.get("vcs_info"):
        return f"{requirement} @ {vcs['vcs']}+{url}@{vcs['commit_id']}", False
    return (f"{requirement} @ {url}" if url else requirement), False


def user_cache_folder(name: str) -> Path:
    """Return a folder of the user's cache for embstore, which may not exist.

    Args:
        name: Name of the folder: ``datasets`` or ``stores``.
    """
    import platformdirs  # most commands need none

    return platformdirs.user_cache_path("embstore", appauthor=False) / name
