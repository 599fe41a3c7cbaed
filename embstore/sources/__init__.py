"""Read texts from sources: files, standard input and named datasets.

The entry point is ``opening.open_source``. A source is read one row at a time (one batch at a time for Parquet).

    opening    a source from the file, dataset, ``-`` or iterable that the user named
    source     an opened source; the description of a dataset, and the files of datasets: found, downloaded, checked
    rows       rows, their values, the columns to read and to keep, and the targets of sentences
    files      opens and reads files and their lines
    tables     the texts in the chosen columns of any table; table_files: CSV, TSV, JSON Lines and Parquet
    datasets   the table of datasets, and their list; those of papers: URL, hash, layout
    own        datasets of a user
"""
