"""Watching a run from outside: what is stalled, and what the world is told of it."""
