"""Read and write Parquet files page by page, where pyarrow cannot, or is slower.

reader, writer   columns of vectors
arrow_arrays     Python and NumPy to Arrow and back, without pandas
plain_table      small tables of sums
footer           the metadata of a file
thrift           the encoding of the metadata
"""
