"""The embedded engine of plandeck: runs a plan, streams events, takes commands.

An application needs four names: `load_plan`, `open_run`, `Plan` and `Task`.
"""
