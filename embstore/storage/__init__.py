"""Store shards, summaries, cards and texts, and read them through the catalog: the only package that imports duckdb.

files/         the file types, each with its format
parquet/       Parquet files page by page
sql/           DuckDB: connections, readers, and the check of users' SQL
transaction/   locks, the list of committed files, recovery
views/         the views of users' SQL
staging/       the texts that a build still has to encode
maintenance/   check, salvage, rewrite, copy
catalog        the contents of a store at one moment
item_lookup    columns of items, words in their sentences, words that differ only in case
writer         shards, written in the background
"""
