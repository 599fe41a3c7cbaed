"""Import vectors that were made elsewhere, and export vectors to other formats."""
