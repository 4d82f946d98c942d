"""A run in plain text, as commands print it; and the marks and words that the console shares."""
