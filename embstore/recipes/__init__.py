"""Papers as data, and their reproduction. Each recipe is a TOML file here, beside the JSON file of its numbers.

recipe.py        models × sources × spaces × metrics × published numbers; pure
recipe_file.py   read one; fields.py: key by key
protocol.py      which spaces to build, and what to ask of them; pure
reproduce.py     build, ask, and set measured beside published
verdicts.py      the rows of the result
multiset.py      items that count more than once; padding.py: draws that may hit the padding
"""
