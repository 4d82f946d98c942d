"""What a plan is, how it is read from a file, and the graph that is run."""
