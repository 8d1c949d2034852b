"""What a model costs: multiply-accumulates, parameters, latency, memory, and the share of its segmentation head."""
