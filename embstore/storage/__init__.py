"""Shards, summaries, cards and the catalog: the only package that imports duckdb.

files/         the kinds of files, each with its format
parquet/       Parquet at the level of pages
sql/           DuckDB: connections, readers, and the check of users' SQL
transaction/   locks, which files count, recovery
views/         what users' SQL sees
staging/       the texts that a build still has to encode
maintenance/   check, salvage, rewrite, import

catalog        what a store holds at one moment
selection      spaces and layers by what a user names
occurrences    words in their sentences, by SQL
writer         shards, written in the background
"""
