"""Keep a store whole, current and small.

verify.py       check every file; answers.py: compute stored answers anew
repair.py       mend it: repair_spaces.py, repair_tables.py; mending.py: done and noted, or only noted
compact.py      few large files of many small ones
merge.py        take in another store
remove.py       delete spaces
indexing.py     indexes that cover all shards; reindex.py: asked for by a user
derived.py      what follows from the shards: indexes and sums
actions.py      what was done, as a table
"""
