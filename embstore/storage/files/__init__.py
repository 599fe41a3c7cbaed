"""Read and write the file types of a store: paths, formats and checks."""
