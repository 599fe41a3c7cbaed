"""Read and write stores at URLs: S3, Google Cloud Storage, Azure, the Hugging Face hub, and web servers.

store      a store at a URL, opened as a folder: for reading, for writing, or to look for damage
objects    the objects of a bucket: the only importer of obstore
hub        dataset repositories on the Hugging Face hub: reading and committing; web: reading from web servers
manifest   the numbered objects that name the objects of the store, themselves or by lists; commits
mirror     a local store whose content is fetched when it is read
cache      the folder of the mirrors, its size limit, and what each mirror has
writing    the only writer: its lease, uploads and commits, and the objects that nothing refers to any more
"""
