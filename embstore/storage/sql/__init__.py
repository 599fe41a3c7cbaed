"""DuckDB, for embstore's own SQL and for users'.

connections     the one for embstore's own SQL, and those for users'
reader          SQL over Parquet files, with their checks
file_stats      ranges of ids by file
interruptible   SQL that Ctrl-C and time limits end
fence           what a user's SQL may say; readonly: the only files that it can open
"""
