mkdir -p docs/tutorials && cp "$DOCS/tutorials/pos.csv" docs/tutorials
