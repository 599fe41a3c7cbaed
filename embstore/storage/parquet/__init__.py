"""Read and write Parquet files page by page, where pyarrow cannot, or is slower.

reader, writer   columns of vectors, and small tables of sums; Python and NumPy to Arrow and back, without pandas
footer           the metadata of a file
thrift           the encoding of the metadata
"""
