"""The command line: parse, call one method of Store, print."""
