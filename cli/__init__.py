"""The command line: parse, call one function of Store, print."""
