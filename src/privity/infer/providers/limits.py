"""What passes of the header of a provider's answer: how much more may be asked, and when."""

from __future__ import annotations

import re

import httpx

__all__ = ["limits"]

_NAME = re.compile(
    r"retry-after|x-ratelimit-(?:limit|remaining|reset)(?:-(?:requests|(?:(?:in|out)put-)?tokens))?"
)
_COUNT = r"[0-9]{1,10}(?:\.[0-9]{1,9})?"
_TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_VALUE = re.compile(
    rf"{_COUNT}|(?:{_COUNT}(?:ms|[smhd])){{1,5}}"  # a number, or a duration such as `1m2.5s`
    rf"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{{2}} {_MONTH} [0-9]{{4}} {_TIME} GMT"
    rf"|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_TIME}(?:\.[0-9]{{1,9}})?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})"
)


def limits(response: httpx.Response) -> list[tuple[str, str]]:
    """Return the headers of a response that say how much more may be asked, and when.

    Guarantees:
        No name but those that are known, and no value but a number, a duration or a date: no word
        of anybody's, and no key
        (tests/adversary/test_provider_answers.py::test_headers_that_pass_say_only_how_much_and_when).
    """
    return [
        (name, value)
        for name, value in response.headers.multi_items()
        if _NAME.fullmatch(name) and _VALUE.fullmatch(value)
    ]
