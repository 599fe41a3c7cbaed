"""Connect to DuckDB, for embstore's own SQL and for users'.

connections     connections for embstore's own SQL, and for users' SQL with its limits of time and memory
reader          SQL over Parquet files that names the damaged file, and the range of item ids of each
interruptible   SQL that Ctrl-C and time limits interrupt
readonly        the file system that users' SQL reads
"""
