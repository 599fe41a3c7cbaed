"""Shards, summaries, cards and the catalog: the only package that imports duckdb.

names        the grammar of names; contents: what the folders of a store hold; paths: where each file is
marker       what makes a folder a store; filesystem: what its file system must do
lock         who may write (with folder_lock)
recovery     what a killed writer left; hidden: parts that give way to others

card         a space, and all that its vectors depend on
shards       the vectors of some items (with stamping, footer, pages, thrift: their Parquet, byte by byte)
summaries    the sums of a shard and of a space (with merged)
tables       the small tables beside the vectors; items: texts by id; datasets: rows of datasets
answers      the answers that were given

staging      the items of a build, before they are written (with held, lacking, skipping)
writer       shards, written in the background

catalog      what a store holds at one moment (with reading, ranges, contexts)
fence        what a user's SQL may say; sandbox: where it is executed (with readonly, relation)
vectors      the vectors of a layer, in bulk
duck         DuckDB: the one for embstore's own SQL, and those for users' (with interruptible)

verify       files against each other (with problems, deep, idset); repair: of single files
compact      many small parts into few; merge: those of another store (with collisions)
"""
