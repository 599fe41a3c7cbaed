"""Collect the texts that a build still has to encode, in a DuckDB database outside the store.

staging   the items of a build
missing   the items missing in each space
texts     the items whose texts are stored
skipped   the items that get no vector
"""
