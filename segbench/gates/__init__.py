"""Gates: rules that a comparison passes or fails."""

from segbench.gates.judging import Outcome, judge, status_of
from segbench.gates.rules import Acknowledgement, Gate, Policy, Tolerance

__all__ = ["Acknowledgement", "Gate", "Outcome", "Policy", "Tolerance", "judge", "status_of"]
