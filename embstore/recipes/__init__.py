"""Reproduce papers from recipes. Each recipe is a TOML file in this folder, beside a JSON file of published numbers.

recipe.py        data classes of a recipe: models, sources, spaces, measures, published numbers; its plan; pure
recipe_file.py   reads a recipe's TOML and JSON
reproduce.py     builds, queries, and compares measured with published numbers: rows with verdicts
"""
