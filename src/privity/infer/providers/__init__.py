"""Providers that promise zero retention: what they promise, as data, and how each is asked."""
