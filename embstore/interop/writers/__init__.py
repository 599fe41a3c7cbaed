"""Write vectors, one file a format; :mod:`embstore.interop.formats` lists them.

A writer is a function of a path, the selected vectors, the record of the export, and a function to call with the number
of items written so far. It may return notes for the user.

arrow.py      Arrow IPC
atlas.py      a folder for embedding-atlas
csv.py        CSV
datasets.py   a folder that the library datasets loads
npy.py        a folder of NumPy arrays
parquet.py    Parquet, long and wide
projector.py  a folder for TensorBoard's Embedding Projector
safetensors.py  safetensors
word2vec.py   word2vec's text and binary formats
"""
