"""Regulars: a closed-loop recommendation platform for shops. See docs/architecture.md for the map."""

__version__ = "0.1.0"
