"""Copy a store, or a part of it, to another place and back: files first, the manifest last.

part       the files that travel, and the check that the other place has nothing that would be lost
transfer   push and pull: compare, copy, check against hashes, commit
hub        a dataset repository on the Hugging Face hub, with its README
"""
