"""compare(): is the candidate really better than the baseline?"""

from segbench.comparison.comparing import Comparison, Options, Row, compare

__all__ = ["Comparison", "Options", "Row", "compare"]
