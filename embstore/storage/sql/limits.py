"""Limits of a user's SQL, in a module of its own: every query has them, and few have SQL."""

from dataclasses import dataclass

from embstore.base.errors import UsageError

_LEAST = 1_000_000
"""Least memory limit in bytes: with less DuckDB does not even start."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a user's SQL."""

    timeout: float | None = None  # time limit of each run in seconds; None for no limit
    memory: int | None = None  # memory limit in bytes; None for half of DuckDB's default

    def __post_init__(self) -> None:
        if self.timeout is not None and not 0 < self.timeout < 1e9:
            raise UsageError(f"timeout must be a number of seconds above 0, not {self.timeout}.")
        if self.memory is not None and self.memory < _LEAST:
            raise UsageError(
                f"the memory for SQL must be at least {_LEAST // 1_000_000} MB, not {self.memory:,} bytes. Give a "
                "larger limit by ⦃memory⦄."
            )


NO_LIMITS = Limits()
