"""Import vectors that were made elsewhere, and export vectors to other formats.

importing.py         the whole import on one page: read → stage → write → index
exporting.py         the whole export on one page: select → stream → publish; the selected vectors
formats.py           the table of formats: names, suffixes, readers and writers
vector_file.py       the files of a user, and blocks of texts and vectors; the texts of an array
read_arrays.py       NumPy's .npy and .npz, arrays in memory; gensim's format and AnnData
read_safetensors.py  safetensors
read_tables.py       Parquet, Arrow IPC, and folders of the library datasets
read_word2vec.py     word2vec's formats, GloVe's and fastText's .vec
staging.py           the checks of rows; their texts and vectors on disk, in the order of the shards
write_arrays.py      a folder of NumPy arrays, and safetensors
write_tables.py      Parquet, Arrow IPC, CSV, and folders for datasets and embedding-atlas
write_words.py       word2vec's formats, and a folder for TensorBoard's Embedding Projector
records.py           the record that every export has with it; the results of imports and exports
"""
