"""Check a store without reading its content: that each file is there with its size, and the footers of the shards."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from embstore.base import disk
from embstore.base.errors import MissingObjectError
from embstore.base.progress import finish_part
from embstore.storage.files.paths import Shard, StorePaths, fetch_footers
from embstore.storage.maintenance.file_checks import Problem
from embstore.storage.parquet.footer import is_footer_sound
from embstore.storage.transaction.manifest import Snapshot


@dataclass(frozen=True, slots=True)
class QuickCheck:
    """A check of names, sizes and footers.

    Attributes:
        sizes: Sizes in bytes that the manifest of a store at a URL has, by path; None for those that the manifest of
            the folder has, which names those of files that are never replaced.
        is_listed: Whether the files have the sizes that the server lists; else the last byte of each is fetched.
    """

    sizes: Mapping[str, int] | None = None
    is_listed: bool = True

    def problems(self, paths: StorePaths, snapshot: Snapshot, spaces: Iterable[Sequence[Shard]]) -> Iterator[Problem]:
        """Yield the problems of a store; missing files that the manifest of the folder names are found elsewhere."""
        sizes = self.sizes
        if sizes is None:
            sizes = {key: properties["bytes"] for key, properties in snapshot.files.items() if "bytes" in properties}
        missing = set()
        for key, size in sorted(sizes.items()):
            path = paths.root / key  # checked by the grammar of names when the manifest was read
            try:
                if not self.is_listed:
                    disk.fetch(path, [(max(0, size - 1), size)])
                elif (found := disk.size(path)) != size:
                    problem = f"it has {found:,} bytes, and its manifest says {size:,}: it was truncated or altered"
                    yield Problem(path, problem)
            except (FileNotFoundError, MissingObjectError):
                missing.add(path)
                yield Problem(path, "it is missing, and the manifest names it")
        for shards in spaces:
            yield from verify_footers([shard for shard in shards if shard.path not in missing])


def verify_footers(shards: Sequence[Shard]) -> Iterator[Problem]:
    """Yield the shards without a summary, or whose footer does not agree with the hash in it."""
    fetch_footers(shards)
    for shard in shards:
        finish_part()
        if not disk.is_file(shard.summary_path):
            yield Problem(shard.summary_path, f"it is missing, and its shard {shard.path} is there")
        if not is_footer_sound(shard.path):
            yield Problem(shard.path, "its footer does not agree with the SHA-256 in it: it was truncated or altered")
