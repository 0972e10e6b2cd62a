"""Secrets in addresses, taken out before anything is printed; the one place that knows how.

Every :class:`~clarity.errors.ClarityError` passes through :func:`redact`, so a message may name
whatever address it is about. Passwords may hold ``/``, ``@`` and ``#``, as people write them.
"""

from __future__ import annotations

import os
import re

#: What stands in a secret's place.
HIDDEN = "***"
#: Schemes whose addresses name files: they carry no account, and their paths may hold an ``@``.
FILES = ("sqlite", "file", "models", "runs", "mlflow-artifacts")
_ADDRESS = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]*)://(?!/)(\S+)")
#: A value in a query or a fragment; of an address every one, elsewhere those that sound secret.
_VALUE = re.compile(r"([?&;#][\w.~%-]+=)([^&;#\s'\"<>)\]]+)")
_SECRET = re.compile(
    r"([?&;#\s][\w.-]*(?:token|key|secret|passw(?:or)?d|pwd|sig(?:nature)?|auth|credentials?)=)"
    r"([^&;#\s'\"<>)\]]+)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\b(authorization:\s*(?:basic\s+)?|bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
#: Variables whose value is an address, and those whose value is a secret as it stands.
_ADDRESSES = re.compile(r"_(URI|URL|ENDPOINT)$")
_SECRETS = re.compile(r"(TOKEN|PASSWORD|SECRET|SECRET_ACCESS_KEY|API_KEY|AUTH_STRING)$")
#: A shorter value is too common a string to be replaced wherever it occurs.
SHORTEST = 6


def redact(text: str) -> str:
    """``text`` without the passwords and tokens of the addresses in it.

    Of an address all of the account before the last ``@`` goes and every value of its query; and
    whatever this process's environment holds as a secret, wherever it occurs.
    """
    for name, value in os.environ.items():
        if _SECRETS.search(name) and len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN)
        elif _ADDRESSES.search(name) and value in text:
            # Known as a whole, so that a password with a space in it is known too.
            text = text.replace(value, redact_address(value))
    text = _ADDRESS.sub(lambda found: redact_address(found[0]), text)
    return _hide(_SECRET, _hide(_HEADER, text))


def redact_address(address: str) -> str:
    """One address without its account and the values of its query."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    if scheme.lower().split("+")[0] in FILES:
        return f"{scheme}://{_hide(_SECRET, rest)}"
    account, at, place = rest.rpartition("@")
    # An @ behind the host, in a path or a query, is not told from one in a password: rather too
    # much is hidden than a half.
    shown = f"{HIDDEN}@{place}" if at and account else rest
    return f"{scheme}://{_hide(_VALUE, shown)}"


def without_account(address: str) -> str:
    """One address that can still be followed: without account, query and closing slash."""
    scheme, mark, rest = address.partition("://")
    place = re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)[0]
    return f"{scheme}{mark}{place.rstrip('/')}"


def _hide(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(rf"\1{HIDDEN}", text)


def printable(text: str) -> str:
    """``text`` on one line, without what would steer a terminal."""
    flat = " ".join(text.split())
    return "".join(sign if sign.isprintable() else "�" for sign in flat)
