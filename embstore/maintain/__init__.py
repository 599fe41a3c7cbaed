"""Commands that check, repair and reorganise an existing store."""
