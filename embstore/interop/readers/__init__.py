"""Read vectors, one file a format; :mod:`embstore.interop.formats` lists them.

npy.py           NumPy's .npy, with its texts in another file; npz.py: archives
raw_array.py     arrays in the plain bytes of a file, read block by block
npy_folder.py    the folder of arrays that an export writes
tables.py        tables with columns of texts and of vectors; parquet.py: of Parquet files
arrow.py         tables of Arrow IPC, and folders of the library datasets
safetensors.py   safetensors; stored_texts.py: the texts that an export stores as tensors
gensim.py        gensim's own format, by its package; anndata.py: AnnData, by its package
recorded.py      what an export of embstore says of its own layers and space
word2vec.py      word2vec's text format, GloVe and fastText's .vec; word2vec_binary.py: word2vec's binary format
"""
