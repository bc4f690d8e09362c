"""E-mail addresses as the server takes them: ASCII, so that each is equal to itself alone.

Unicode has letters that become ASCII ones in lower case, such as the Kelvin sign, and characters that do not show.
An address with one of them could be taken for somebody else's (CVE-2019-19844). Domains of other scripts have an
ASCII form, their A-label (RFC 5890 2.3.2.1).
"""

import re
import string
from collections.abc import Mapping
from types import MappingProxyType

_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,253}[A-Za-z0-9])?"
_ADDRESS = rf"[!-?A-~]{{1,64}}@{_DOMAIN}"
#: An address, as a regular expression. The lookahead refuses a line feed that ``$`` would overlook.
EMAIL = rf"^{_ADDRESS}(?!\n)$"
#: An address or its domain, or * for all of them.
EMAIL_OR_ANY = rf"^(?:\*|{_ADDRESS})(?!\n)$"
DOMAIN_OR_ANY = rf"^(?:\*|{_DOMAIN})(?!\n)$"
_FORM = "in ASCII, without blanks; that of another script in its A-label form, like xn--bcher-kva.example"
#: Which texts are addresses.
EMAILS_ALLOWED = f"addresses like ada@example.com, with a domain {_FORM}"
#: What is said of a text that does not match, by regular expression.
EMAIL_SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        EMAIL: f"Is not an e-mail address; allowed: {EMAILS_ALLOWED}.",
        EMAIL_OR_ANY: f"Is not an e-mail address; allowed: {EMAILS_ALLOWED}; or * for anyone.",
        DOMAIN_OR_ANY: f"Is not the domain of an e-mail address; allowed: * for any, or a domain {_FORM}.",
    }
)
_EMAIL = re.compile(_ADDRESS)
_WHOLE_DOMAIN = re.compile(_DOMAIN)
_LOWER = MappingProxyType(str.maketrans(string.ascii_uppercase, string.ascii_lowercase))


def is_email(text: str) -> bool:
    """Return True for an address that can decide who somebody is."""
    return _EMAIL.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Return True for the domain of such an address."""
    return _WHOLE_DOMAIN.fullmatch(text) is not None


def ascii_lower(text: str) -> str:
    """Return a text with its ASCII letters in lower case, and nothing else changed."""
    return text.translate(_LOWER)
