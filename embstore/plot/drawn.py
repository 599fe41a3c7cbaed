"""Keep the pictures that commands have drawn, because drawing one takes longer than most queries.

A picture is kept in the user's cache under a hash of all that it depends on: its specification, vl-convert, and the
fonts of the machine. The same command then gives the same bytes without drawing. The folder may be deleted.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from embstore import atomic, disk, user_cache
from embstore.errors import FileAccessError

_MAX_PICTURES = 200
_HASH_BYTES = 32
_FONT_FOLDERS = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
}
_FONT_FOLDERS_ELSEWHERE = (
    "/etc/fonts",
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.fonts",
    "~/.local/share/fonts",
)
_FONT_VARIABLES = ("FONTCONFIG_FILE", "FONTCONFIG_PATH", "XDG_DATA_HOME", "XDG_DATA_DIRS")


def folder() -> Path:
    """Return the folder of the pictures, which may not exist."""
    return user_cache.folder("pictures")


def path_of(name: str, arguments: Mapping[str, Any]) -> Path:
    """Return where the result of a function of vl-convert is kept.

    Args:
        name: Name of the function.
        arguments: Its arguments, of the types of JSON.
    """
    key = json.dumps([name, arguments, [*_renderer()], [*_fonts()], [os.environ.get(each) for each in _FONT_VARIABLES]])
    return folder() / hashlib.sha256(key.encode()).hexdigest()


def read(path: Path) -> str | bytes | None:
    """Return a kept picture; None if there is none, or if it was altered."""
    try:
        data = disk.read(path)
    except (FileNotFoundError, FileAccessError):
        return None
    digest, content = data[:_HASH_BYTES], data[_HASH_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        return None
    kind, drawn = content[:1], content[1:]
    return drawn.decode() if kind == b"t" else drawn


def keep(path: Path, drawn: str | bytes) -> None:
    """Keep a picture, and delete those that were drawn longest ago; a cache that cannot be written keeps none."""
    content = b"t" + drawn.encode() if isinstance(drawn, str) else b"b" + drawn
    with suppress(FileAccessError):
        atomic.write_bytes(path, hashlib.sha256(content).digest() + content, derived=True)
        kept = sorted(disk.listed(path.parent), key=_time)
        for old in kept[:-_MAX_PICTURES]:
            disk.remove(old, missing_ok=True)


def _time(path: Path) -> int:
    try:
        return disk.status(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def _renderer() -> Iterator[tuple[str, int, int]]:
    """Yield name, size and modification time of the files of vl-convert, which change with its version."""
    found = find_spec("vl_convert")
    if found is None or found.origin is None:
        return
    with os.scandir(Path(found.origin).parent) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_file():
                status = entry.stat()
                yield entry.name, status.st_size, status.st_mtime_ns


def _fonts() -> Iterator[tuple[str, int]]:
    """Yield the folders of fonts with their modification times, which change with a font that comes or goes."""
    for top in _FONT_FOLDERS.get(sys.platform, _FONT_FOLDERS_ELSEWHERE):
        for place, folders, _ in os.walk(os.path.expanduser(top)):
            folders.sort()
            with suppress(OSError):  # it was removed meanwhile
                yield place, os.stat(place).st_mtime_ns
