"""Compare the vectors of two spaces, and write files of vectors as other programs do."""


def assert_same_vectors(store, space, other):
    """Check that two spaces have the same layers, items and vectors, to the bit."""
    cards = store.catalog.cards
    assert cards[space].layers == cards[other].layers
    assert cards[space].dtype == cards[other].dtype
    for layer in cards[space].layers:
        assert_same_layer(store, space, layer.name, other, layer.name)


def assert_same_layer(store, space, layer, other, other_layer):
    """Check that two layers have the same items and vectors, to the bit."""
    ids, texts, vectors = store.vectors(space, layer)
    other_ids, other_texts, other_vectors = store.vectors(other, other_layer)
    assert len(ids)
    assert ids.tolist() == other_ids.tolist()
    assert texts == other_texts
    assert vectors.tobytes() == other_vectors.tobytes()


def write_word2vec(path, texts, vectors, *, header=True):
    """Write word2vec's text format by Python's own digits; without a header, GloVe's."""
    lines = [
        f"{text} {' '.join(map(str, map(float, row)))}\n"
        for text, row in zip(texts, vectors, strict=True)
    ]
    first = f"{len(texts)} {vectors.shape[1]}\n" if header else ""
    path.write_text(first + "".join(lines), "utf-8", newline="\n")
    return path
