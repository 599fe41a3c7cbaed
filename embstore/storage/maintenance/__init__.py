"""Check, salvage, rewrite and import the files of a store.

file_checks      consistency of files, and ids against texts; quick_checks: names, sizes and footers
salvage          moving damaged files out; the intact rows of tables of texts
column_tables    tables of items' columns: check, unite, remove
compaction       merging of many small part files into few
import_store     import of another store's part files, in which no id is that of another text
space_summary    the merged summary of a space
"""
