"""Read and write stores at URLs: S3, Google Cloud Storage, Azure, the Hugging Face hub, and web servers."""
