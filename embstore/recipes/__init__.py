"""Reproduce papers from recipes. Each recipe is a TOML file in this folder, beside a JSON file of published numbers.

recipe.py        data classes of a recipe: models, sources, spaces, measures, published numbers; pure
recipe_file.py   reads a recipe's TOML and JSON; fields.py: typed access to their keys
protocol.py      plans the builds and queries; pure
reproduce.py     builds, queries, and compares measured with published numbers
verdicts.py      rows of the result, with verdicts
multiset.py      anisotropy of items with duplicates; padding.py: samples that include padding tokens
"""
