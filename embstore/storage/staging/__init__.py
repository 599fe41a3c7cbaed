"""Collect the texts that a build still has to encode, in a DuckDB database outside the store."""
