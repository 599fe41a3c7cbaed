"""Buckets of a server of the S3 interface."""

from dataclasses import dataclass

from embstore import Store
from embstore.storage.bucket import Bucket as Objects

KEY, SECRET = "AKIAEXAMPLE", "wJalrXUtnFEMIexample"


@dataclass(frozen=True)
class Bucket:
    """A bucket of a server: its URL, and the options that reach it."""

    name: str
    endpoint: str

    @property
    def url(self):
        return f"s3://{self.name}/some/prefix"

    @property
    def options(self):
        return {
            "endpoint": self.endpoint,
            "access_key_id": KEY,
            "secret_access_key": SECRET,
            "region": "us-east-1",
        }

    @property
    def arguments(self):
        """The options on the command line."""
        return [
            word
            for name, value in self.options.items()
            for word in ("--store-option", f"{name}={value}")
        ]

    @property
    def store(self):
        """The store, newly opened."""
        return Store(self.url, options=self.options)

    def objects(self):
        return Objects(self.url, self.options)

    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )
