"""Panoptic maps: files and framework objects to maps of segment ids with their segments. One kind per file."""
