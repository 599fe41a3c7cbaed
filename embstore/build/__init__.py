"""Build a store; :mod:`embstore.build.pipeline` runs the steps in order."""
