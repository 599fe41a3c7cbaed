"""Read and write stores at URLs: S3, Google Cloud Storage, Azure, and servers with the same interfaces.

store      a store at a URL, opened as a folder: for reading, for writing, or to look for damage
objects    the objects of a bucket: the only importer of obstore
manifest   the numbered objects that name the objects of the store; commits
file_lists the files that a manifest names, of which many are in lists that are read when they are needed
mirror     a local store whose content is fetched when it is read; mirror_snapshot: its files, for readers
contents   what a mirror has; parallel: requests in several threads
records    which parts of a mirror's files were fetched; needs: which of them this process needs
writing    the only writer: its lease, uploads and commits
published  manifest.json, which names the files where they cannot be listed: on the hub, and on web servers
hub        dataset repositories on the Hugging Face hub: reading and committing; web: reading from web servers
garbage    the objects that nothing refers to any more
cache      the folder of the mirrors, and its size limit
ranges     arithmetic on ranges of bytes
"""
