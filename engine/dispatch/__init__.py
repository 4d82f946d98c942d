"""Dispatchers: each knows one way of running an attempt, and nothing else."""
