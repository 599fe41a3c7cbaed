"""Copy a store, or a part of it, to another place and back: files first, the manifest last.

transfer.py   push and pull: plan, check, copy, commit
part.py       the files that travel
content.py    the check that the other place has nothing that would be lost
folder.py     a folder that files are copied to
hub.py        a dataset repository on the Hugging Face hub; dataset_card.py: its README
checking.py   the check of files against their hashes
"""
