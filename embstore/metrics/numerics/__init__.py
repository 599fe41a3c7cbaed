"""Arithmetic shared by several metrics."""
