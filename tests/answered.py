"""What a client reads where a provider answers a pseudonymised request."""

from __future__ import annotations

import json

from privity.infer.pseudonyms.pseudonymiser import Departure


def restored(departure: Departure, text: str) -> str:
    """Return the text of an answer as the client gets it."""
    body = json.dumps({"choices": [{"index": 0, "message": {"content": text}}]}).encode()
    restorer = departure.answer("application/json")
    made = json.loads(restorer.feed(body) + restorer.end())
    return str(made["choices"][0]["message"]["content"])
