cp "$DOCS/tutorials/pairs.csv" .
