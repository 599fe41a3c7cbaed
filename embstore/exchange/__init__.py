"""Copy a store, or a part of it, to another place and back: files first, the manifest last."""
