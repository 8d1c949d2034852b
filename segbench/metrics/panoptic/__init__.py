"""Panoptic quality and its kin: `scoring` accumulates and scores, the others are its parts."""
