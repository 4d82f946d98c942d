"""The screens of the console: the run itself, and what opens over it."""
