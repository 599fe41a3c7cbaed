"""Check, salvage, rewrite and copy the files of a store.

file_checks      consistency of files, and ids against texts, or only names, sizes and footers
part_tables      tables of texts: their intact rows; tables of items' columns: check, unite, remove
compaction       merging of many small part files into few, and of summaries into that of a space
copying          what another store has and this one does not: received, checked, committed at once
"""
