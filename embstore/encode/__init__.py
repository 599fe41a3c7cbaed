"""Embed passages with every layer of a checkpoint. The only package that imports torch and transformers.

    checkpoint        a short name, hub id or folder → a local folder and its hashes, without torch
    checkpoint_files  lists and checks the files of a checkpoint
    recipe            a checkpoint's own recipe as sentence-transformers reads it, as data
    tokens            passages → token ids, without the model; templates, poolings
    spans             the tokens of each item; the part of a very long text to tokenise
    models            a folder → the part of a transformers model that reads text; only hashed files, no network
    contract          which hidden state is which layer, verified by running the model
    recipe_head       texts → token ids, and hidden states → vectors, by a checkpoint's own recipe
    forward           all of these in one object; batches → their vectors, several in parallel
    records           types of weights, batches, and the results: vectors, skipped texts, plans
    extra             imports of the optional libraries; selection of the device

Importing them loads neither torch nor transformers; the first use of ``Encoder`` or ``Tokenizer`` does.
"""
