"""How the watchdog's root and a member prove to each other that they know the secret of the job, without sending it.

    root     {"challenge": R}                                   to whoever connects
    member   {"challenge": M, "rank": 1, "host": "lab2", "proof": HMAC(secret, "member", R, M, 1, "lab2")}
    root     {"proof": HMAC(secret, "root", R, M, 1, "lab2")}

R and M are drawn for each connection, so a proof that somebody has seen is of no use for another one. What follows is
neither encrypted nor signed: it holds host names and phases. Text of a peer is shown to the user, so it is `cleaned`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any

LONGEST_CHALLENGE = 64
LONGEST_HOST = 255


def new_challenge() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Hello:
    """What a member says of itself, and the challenges of both sides."""

    roots_challenge: str
    challenge: str
    rank: int
    host: str

    @classmethod
    def to(cls, roots_challenge: object, *, rank: int, host: str) -> Hello | None:
        """A member's answer to a root's challenge; None where that is none."""
        if not _is_challenge(roots_challenge):
            return None
        return cls(str(roots_challenge), new_challenge(), rank, host)

    @classmethod
    def from_message(cls, message: dict[str, Any], roots_challenge: str, secret: str, *, size: int) -> Hello | None:
        """What a member of this job said; None for anything else."""
        challenge, rank, host = message.get("challenge"), message.get("rank"), message.get("host")
        if not _is_challenge(challenge) or type(rank) is not int or not 0 < rank < size or not isinstance(host, str):
            return None
        hello = cls(roots_challenge, str(challenge), rank, host)
        return hello if _same(message.get("proof"), hello._proof("member", secret)) else None

    def to_message(self, secret: str) -> dict[str, Any]:
        proof = self._proof("member", secret)
        return {"challenge": self.challenge, "rank": self.rank, "host": self.host, "proof": proof}

    def answer(self, secret: str) -> dict[str, Any]:
        """The root's proof."""
        return {"proof": self._proof("root", secret)}

    def _proof(self, side: str, secret: str) -> str:
        text = json.dumps([side, self.roots_challenge, self.challenge, self.rank, self.host])
        return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def is_answer(message: dict[str, Any], hello: Hello, secret: str) -> bool:
    """Whether this is what the root of the job answers to `hello`."""
    return _same(message.get("proof"), hello.answer(secret)["proof"])


def cleaned(text: str, longest: int) -> str:
    """Text of a peer as it may be shown: no control characters, line ends or escape sequences, and not longer than that.

    >>> cleaned("a\\x1b[2J\\nb" + "c" * 9, 8)
    'a?[2J?b…'
    """
    shown = "".join(character if character.isprintable() else "?" for character in text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _is_challenge(given: object) -> bool:
    return isinstance(given, str) and 16 <= len(given) <= LONGEST_CHALLENGE


def _same(given: object, expected: str) -> bool:
    """Compare in constant time."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())
