"""Described by its owner."""
