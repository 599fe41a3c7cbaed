"""The shared vocabulary: what every other package may import, and which imports none of them."""

__version__ = "0.2.0"
