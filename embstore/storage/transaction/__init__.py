"""Lock a store, list its committed files, and recover from interrupted writes.

manifest      the files that make up a store, as its newest manifest names them
commit        changes of them; additions: files that are written and committed
recovery      finish or roll back interrupted writes
lock          exclusive and shared writers; folder_lock: the lock of the folder itself
filesystem    the check that the file system can keep a store
"""
