"""Check, salvage, rewrite and copy the files of a store."""
