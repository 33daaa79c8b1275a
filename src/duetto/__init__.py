"""Duetto takes a song apart into its voice and its music."""

__version__ = "0.1.0"
