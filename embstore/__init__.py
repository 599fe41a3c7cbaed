"""embstore: the vectors of every layer, computed once and queried without a model."""
