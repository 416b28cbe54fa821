"""Errors, arrays, containers, settings, clock, randomness, kernels, selection; no rules of a shop."""
