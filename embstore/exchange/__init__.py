"""Copy a store, or a part of it, to another place and back: files first, the manifest last.

push_and_pull   the files that travel, what the other place would lose, the copy
hub             a dataset repository on the Hugging Face hub, with its README
"""
