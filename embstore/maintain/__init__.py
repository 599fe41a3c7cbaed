"""Commands that check, repair and reorganise an existing store.

verify.py       check every file
repair.py       move damaged files out, and rebuild what is derived
merge.py        copy the spaces of another store
upkeep.py       merge many small files into few large ones, delete spaces, rebuild indexes
actions.py      the actions of a command as a table
"""
