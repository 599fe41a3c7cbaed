"""Reproduce papers. Each module is of one paper: its data are a TOML file, its numbers a JSON file.
published numbers.
"""
