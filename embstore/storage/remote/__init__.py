"""Read and write stores at URLs: S3, Google Cloud Storage, Azure, and servers with the same interfaces.

objects   the objects of a bucket: the only importer of obstore
"""
