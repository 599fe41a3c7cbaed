"""Store shards, summaries, cards and texts, and read them through the catalog: the only package that imports duckdb."""
