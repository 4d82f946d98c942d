"""What plandeck costs, side by side with its peers. `make bench` runs it; README.md has the last figures."""

import os

# an installed program is compiled once, and its peers are: every start shall not compile ours anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
