"""Keep a store whole, current and small.

verify.py       check every file
repair.py       repair it: repair_spaces.py, repair_tables.py; repair_log.py: what was done, or would be
compact.py      few large files of many small ones
merge.py        take in another store
remove.py       delete spaces
reindex.py      indexes of another kind, on request
derived.py      what follows from the shards: indexes and sums
actions.py      what was done, as a table
"""
