"""Copy a store, or a part of it, to another place and back: files first, the manifest last.

copies   the files that travel, what the other place would lose, the copy; a dataset repository, with its README
"""
