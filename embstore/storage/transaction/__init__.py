"""Which files of a store count.

manifest      the parts of a folder, and how some give way to others in one step
recovery      finish or roll back what a killed writer left
lock          who may write; folder_lock: on the folder itself
filesystem    what the file system must do
"""
