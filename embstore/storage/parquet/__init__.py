"""Read and write Parquet files page by page, where pyarrow cannot, or is slower."""
