"""Commands that check, repair and reorganise an existing store.

verify.py       check every file
repair.py       move damaged files out, and rebuild what is derived
upkeep.py       merge another store, or many small files into few large ones; delete spaces, rebuild indexes;
                the actions of a command as a table
"""
