"""Collect the texts that a build still has to encode, in a DuckDB database outside the store.

staging   the items of a build
missing   the items missing in each space, the texts missing in the store, and the items that get no vector
columns   the values to keep with the items, and their numbers of tokens
"""
