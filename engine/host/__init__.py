"""The processes around the engine: the launcher that the shell waits for, and the guardian."""
