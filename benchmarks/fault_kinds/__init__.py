"""The kinds of attack of benchmarks/faults.py: each a function (made, draw, share) that yields attacks."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # made_films.py and its like draw what is attacked
