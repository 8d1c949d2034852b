"""Instances: files and framework objects to columns of masks and boxes. One format or family per file."""
