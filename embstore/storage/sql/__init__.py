"""Connect to DuckDB, for embstore's own SQL and for users'."""
