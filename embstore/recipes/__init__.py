"""Reproduce papers. Each has a module, a TOML file of its spaces and measures, and a JSON file of
published numbers.
"""
