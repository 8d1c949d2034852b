"""What a model costs: multiply-accumulates, parameters, latency, memory, and the share of its segmentation head."""

from segbench.profiling.api import profile
from segbench.profiling.macs_torch import register_macs
from segbench.profiling.profiles import Profiles
from segbench.profiling.timing import Policy

__all__ = ["Policy", "Profiles", "profile", "register_macs"]
