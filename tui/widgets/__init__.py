"""What the console is made of: one widget a file."""
