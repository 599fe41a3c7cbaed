"""Reproduce papers from recipes. Each recipe is a TOML file in this folder, beside a JSON file of
published numbers.
"""
