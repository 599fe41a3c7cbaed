"""Read and write the files of a store, by their manifest: the only package that imports DuckDB and
obstore.
"""
