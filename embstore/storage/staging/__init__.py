"""The texts that a build still has to encode, in a DuckDB database outside the store.

staging   the items of a build
missing   those that a space lacks
texts     those whose texts are stored
skipped   those that get no vector
"""
