"""Lock a store, list its committed files, and recover from interrupted writes.

manifest   the files that make up a store, as its newest manifest names them
commit     changes of them, files that are written and committed, and the end of interrupted writes
lock       exclusive and shared writers, and the check that the file system can keep a store
"""
