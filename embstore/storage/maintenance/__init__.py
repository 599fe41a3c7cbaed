"""Check, salvage, rewrite and import the files of a store.

file_checks      consistency of files; quick_checks: names, sizes and footers; item_id_checks: ids against texts
problems         results of checks
id_set           a set of item ids
salvage          moving damaged files out; the intact rows of tables of texts
column_tables    tables of items' columns: check, unite, remove
compaction       merging of many small part files into few
import_store     import of another store's part files; id_collisions: two texts with the same id
space_summary    the merged summary of a space
"""
