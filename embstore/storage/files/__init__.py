"""Read and write the file types of a store: paths, formats and checks.

names       the table of the kinds of files: names, folders, hashes; paths: the path of each file, and store.json
card        the card of a space: all that its vectors depend on; spaces and layers by user input
shards      writing of shards; vectors: reading of the vectors of a layer, or of a few items
derived     the sums of a shard and of a space; cached answers of queries
item_columns the columns of items
tables      the small tables beside the vectors; items: texts by id; datasets: rows of datasets
maps        positions of items in the plane
unpacked    the limit on a small table's decompressed size
"""
