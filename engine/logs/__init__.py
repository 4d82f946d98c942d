"""What is kept as it was said: the output of each attempt, and the program's own log."""
