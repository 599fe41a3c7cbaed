"""Lock a store, list its committed files, and recover from interrupted writes.

manifest      the part files of a folder, and their atomic replacement
recovery      finish or roll back interrupted writes
lock          exclusive and shared writers; folder_lock: the lock of the folder itself
filesystem    the check that the file system can keep a store
"""
