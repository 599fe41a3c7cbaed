"""Check, salvage, rewrite and copy the files of a store.

file_checks      consistency of files, and ids against texts, or only names, sizes and footers
salvage          moving damaged files out; the intact rows of tables of texts
column_tables    tables of items' columns: check, unite, remove
compaction       merging of many small part files into few
copying          what another store has and this one does not: received, checked, committed at once
space_summary    the merged summary of a space
"""
