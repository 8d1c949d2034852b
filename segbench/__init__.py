"""segbench: evaluation and benchmarking of segmentation models."""

__version__ = "0.1.0"
