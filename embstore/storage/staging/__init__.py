"""Collect the texts that a build still has to encode, in a DuckDB database outside the store.

staging   the items of a build
missing   the items missing in each space
texts     the items whose texts are stored, and those that get no vector
columns   the values to keep with the items, and their numbers of tokens
"""
