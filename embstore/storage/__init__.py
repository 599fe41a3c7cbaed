"""Shards, summaries, cards and the catalog: the only package that imports duckdb."""
