"""Read and write Parquet files at the level of pages, for what pyarrow cannot do or does more slowly.

reader, writer   columns of vectors
footer           the metadata of a file; unpacked_size: what its pages unpack to
thrift           its encoding
"""
