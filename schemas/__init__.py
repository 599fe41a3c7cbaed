"""The published contract of a store: JSON Schemas of its documents, and the columns of its Parquet
tables.
"""
