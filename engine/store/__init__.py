"""What outlives a run: its journal, the history read from that, and the lock that keeps a run single."""
