"""Commands that check, repair and reorganise an existing store.

verify.py       check every file
repair.py       move damaged files out, and rebuild what is derived
compact.py      merge many small files into few large ones
merge.py        copy the spaces of another store
remove.py       delete spaces
reindex.py      rebuild, change or remove indexes
derived.py      update what is computed from the shards: indexes and merged summaries
actions.py      the actions of a command, as a table
"""
