cp "$DOCS/tutorials/pos.csv" .
