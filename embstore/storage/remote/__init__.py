"""Read and write stores at URLs: S3, Google Cloud Storage, Azure, the Hugging Face hub, and web servers.

objects    the objects of a bucket: the only importer of obstore
published  stores that were pushed: on web servers, in dataset repositories on the Hugging Face hub
manifest   the numbered objects that name the objects of the store, themselves or by lists; commits
mirror     a local store whose content is fetched when it is read
cache      the folder of the mirrors, its size limit, and what each mirror has
remote_store   a store at a URL, opened as a folder: for reading, for its only writer, or to look for damage
"""
