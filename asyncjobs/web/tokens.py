"""Tokens of forms: they show that a form was made here, for whom, and not long ago.

Other sites cannot read a page, and so have no token, although a browser would send their forms with the user's own
credentials. No cookie is needed, and nothing is stored: the key is made of facts about the schema that only those know who
may read the database, so that every process of an application takes the forms of the others.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Sequence

from asyncjobs.db.looking import Applied

HALF_LIFE = 12 * 3600
"""Seconds of a period; a token is good until the end of the next one."""


class Tokens:
    """Makes and checks tokens.

    Args:
        applied: The migrations of the schema, with the microseconds in which they were applied.
    """

    def __init__(self, applied: Sequence[Applied]) -> None:
        facts = [[each.number, each.name, each.at.isoformat()] for each in applied]
        self._key = hashlib.sha256(f"asyncjobs dashboard {json.dumps(facts)}".encode()).digest()

    def make(self, who: str, path: str) -> str:
        """Return a token for a form that `who` sends to `path`."""
        return self._of(who, path, int(time.time() // HALF_LIFE))

    def is_good(self, token: str, who: str, path: str) -> bool:
        """Whether a token was made here for `who` and `path`, in this period or the one before."""
        now = int(time.time() // HALF_LIFE)
        return any(hmac.compare_digest(token.encode(), self._of(who, path, then).encode()) for then in (now, now - 1))

    def _of(self, who: str, path: str, period: int) -> str:
        said = json.dumps([who, path, period]).encode()
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()
