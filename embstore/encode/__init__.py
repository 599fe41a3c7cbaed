"""Embed passages with every layer of a checkpoint. The only package that imports torch and
transformers.

Importing its modules loads neither; the first use of ``Encoder`` or ``Tokenizer`` does.
"""
