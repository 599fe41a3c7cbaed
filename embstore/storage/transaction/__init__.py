"""Lock a store, list its committed files, and recover from interrupted writes."""
