"""The published contract: JSON Schemas of documents and of ``--format json``, and the Parquet
tables' columns.
"""
