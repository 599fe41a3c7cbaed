"""Read texts from sources: files, standard input and named datasets.

The entry point is ``opening.open_source``. A source is read one row at a time (one batch at a time
for Parquet).
"""
