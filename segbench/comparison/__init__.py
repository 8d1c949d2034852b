"""compare(): is the candidate really better than the baseline?"""

from segbench.comparison.comparing import Options, compare
from segbench.comparison.rows import Comparison, Row

__all__ = ["Comparison", "Options", "Row", "compare"]
