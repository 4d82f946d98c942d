"""The command line and the console of plandeck."""
