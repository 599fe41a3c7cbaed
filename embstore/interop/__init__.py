"""Import vectors that were made elsewhere, and export vectors to other formats.

importing.py     the whole import on one page: read → stage → write → index
exporting.py     the whole export on one page: select → stream → publish
formats.py       the table of formats: names, suffixes, readers and writers
vector_file.py   what a reader returns: blocks of texts and vectors
files.py         the files of a user: streams, hashes, decompression
array.py         an array in memory, with its texts
texts.py         the texts of a bare array: ``--texts``
staged.py        the checks of rows, and the staging of their texts and vectors
spool.py         vectors on disk in the order of the shards, between reading and writing
cards.py         the card of an imported space
provenance.py    the record that every export has with it
report.py        the results of an import and an export
selection.py     the selected vectors of a space, shard by shard
readers/         one file a format
writers/         one file a format
"""
