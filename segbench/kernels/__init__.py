"""Numba kernels: arrays in, arrays out; one self-contained file per family.

Rules (each was measured; CONTRIBUTING.md tells why): one explicit signature per kernel, inputs read-only, outputs last and allocated by the
caller; no sorting, no array expressions, no allocation, no `parallel`, no `fastmath`; a kernel calls only kernels of its own file.
"""
