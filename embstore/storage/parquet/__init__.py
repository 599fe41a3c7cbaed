"""Read and write Parquet files page by page, where pyarrow cannot, or is slower.

reader, writer   columns of vectors, and the footer
unpacked_size    the decompressed size of the pages
thrift           the encoding of the metadata
"""
