"""The kinds of files that a store has: where each lies, its format, and how it is read and written.

names       the grammar of names; contents: what the folders of a store hold; paths: where each file is
marker      what makes a folder a store
card        a space, and all that its vectors depend on
shards      the vectors of some items, written; vectors: those of a layer, read
summaries   the sums of a shard and of a space
tables      the small tables beside the vectors; items: texts by id; datasets: rows of datasets
answers     the answers that were given
unpacked    what a small table may unpack to
"""
