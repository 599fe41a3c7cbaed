"""Import vectors that were made elsewhere, and export vectors to other formats.

importing.py         the whole import on one page: read → stage → write → index
exporting.py         the whole export on one page: select → stream → publish
formats.py           the table of formats: names, suffixes, readers and writers
vector_file.py       the files of a user, and what a reader returns: blocks of texts and vectors
texts.py             the texts of a bare array: ``--texts``
read_arrays.py       NumPy's .npy and .npz, and arrays in memory
read_packages.py     gensim's own format and AnnData, by their packages
read_safetensors.py  safetensors
read_tables.py       Parquet, Arrow IPC, and folders of the library datasets
read_word2vec.py     word2vec's formats, GloVe's and fastText's .vec
staging.py           the checks of rows; their texts and vectors on disk, in the order of the shards
selection.py         the selected vectors of a space, shard by shard
write_arrays.py      a folder of NumPy arrays, and safetensors
write_atlas.py       a folder for embedding-atlas
write_tables.py      Parquet, Arrow IPC, CSV, and a folder that the library datasets loads
write_words.py       word2vec's formats, and a folder for TensorBoard's Embedding Projector
records.py           the record that every export has with it
reports.py           the results of an import and an export
"""
