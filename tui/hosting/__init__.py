"""What stands around a console or a report: the engine of a run, or the way to one that is elsewhere."""
