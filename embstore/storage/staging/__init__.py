"""Collect the texts that a build still has to encode, in a DuckDB database outside the store.

staging   the items of a build
missing   the items missing in each space
item_rows items as rows, which go to other processes
texts     the items whose texts are stored
columns   the values to keep with the items
token_counts the number of tokens of items
skipped   the items that get no vector
"""
