"""Check, salvage, rewrite and import the files of a store.

file_checks      files against each other; item_id_checks: ids against texts; problems: what was found
id_set           a set of item ids
salvage          what can be read of damaged files
compaction       many small parts into few
import_store     the parts of another store; id_collisions: two texts with one id
space_summary    the sums of a whole space, written
"""
