"""Claims about a person as providers send them, which is not always as OpenID Connect Core says.

A claim that only describes the person counts as absent if it is null, of another type or no whole text. Claims
that security rests on (``sub``, ``aud``, ``nonce`` and the like) are left as they are, for the strict types that
read them.
"""

import re
from collections.abc import Mapping
from typing import Any

# OpenID Connect Core, section 5.1; ``hd`` is Google's.
_TEXTS = ("email", "name", "hd")
# A lone surrogate (RFC 8259, section 8.2).
_HALF = re.compile(r"[\ud800-\udfff]")


def usable_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims that are not null, with those about the person of their own types or left out.

    ``email_verified`` is a boolean in OpenID Connect Core 5.1, and the texts "true" and "false" at some providers
    (Amazon Cognito, Apple). Any other value proves nothing, so it is left out too.
    """
    found = {name: value for name, value in claims.items() if value is not None}
    for name in _TEXTS:
        if not _is_text(found.get(name, "")):
            del found[name]
    if "email_verified" in found:
        found["email_verified"] = _is_true(found["email_verified"])
    return found


def _is_text(value: Any) -> bool:
    """Return True for a text of whole characters. JSON can have halves of them, which nothing can store."""
    return isinstance(value, str) and _HALF.search(value) is None


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")
