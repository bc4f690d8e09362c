"""Suggest the right word where a wrong one is close to it."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: object, allowed: Iterable[object]) -> str:
    """Return a sentence with a space before it, that names the allowed word closest to this one; '' if none is."""
    words = {str(one).lower(): str(one) for one in allowed}
    close = get_close_matches(str(word)[:100].lower(), words, n=1, cutoff=0.6)
    return f" Did you mean '{words[close[0]]}'?" if close else ""
