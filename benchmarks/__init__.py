"""What plandeck costs, side by side with its peers. `make bench` runs it; README.md has the last figures."""
