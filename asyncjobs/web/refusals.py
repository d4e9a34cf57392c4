"""Refused requests."""

from __future__ import annotations


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: The HTTP status.
        title: A few words.
        text: A sentence with the remedy; it repeats nothing of the request.
    """

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.text = text


def bad(text: str) -> Refused:
    """Return the refusal of a request that cannot be understood."""
    return Refused(400, "Bad request", text)


def missing(text: str) -> Refused:
    """Return the refusal of a request for something that is not there."""
    return Refused(404, "Not found", text)
