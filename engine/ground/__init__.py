"""What every room may stand on: small things that know nothing of plans, tasks and runs."""
