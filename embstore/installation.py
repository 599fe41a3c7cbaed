"""Where this installation of embstore came from, for messages that say what to install."""

import json
import shlex
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this installation.

    An installation from an index gets the extra from there; one from a folder, an archive or a repository gets it from
    the same place, which is where this version is.

    Args:
        extra: Name of the extra, such as ``build``.
    """
    try:
        requirement, is_editable = _requirement(distribution("embstore"), extra)
    except PackageNotFoundError:  # it is run from its sources
        requirement, is_editable = f"embstore[{extra}]", False
    return f"pip install {'-e ' if is_editable else ''}{_quoted(requirement)}"


def _requirement(found: Distribution, extra: str) -> tuple[str, bool]:
    named = f"embstore[{extra}]"
    origin: dict[str, Any] = json.loads(found.read_text("direct_url.json") or "{}")
    url = origin.get("url", "")
    if "dir_info" in origin and url.startswith("file://"):
        from urllib.parse import urlparse
        from urllib.request import url2pathname

        folder = url2pathname(urlparse(url).path)
        return f"{folder}[{extra}]", bool(origin["dir_info"].get("editable"))
    if vcs := origin.get("vcs_info"):
        return f"{named} @ {vcs['vcs']}+{url}@{vcs['commit_id']}", False
    return (f"{named} @ {url}" if url else named), False


def _quoted(requirement: str) -> str:
    return f"'{requirement}'" if "'" not in requirement else shlex.quote(requirement)
