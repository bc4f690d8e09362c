"""Ids of tool calls, in the form that the chat template of a model takes back."""

import hashlib
from typing import Literal

# call: any id; nine: nine letters or digits (Mistral); named: "functions.NAME:NUMBER", with the name (Kimi K2).
CallIds = Literal["call", "nine", "named"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_NINE = 9


def call_id(form: CallIds, seed: str) -> str:
    """Return the id of a call. Equal seeds give equal ids.

    Of the form ``named`` it has OpenAI's form, because it is numbered anew whenever a prompt is rendered.
    """
    digest = hashlib.blake2b(seed.encode(), digest_size=12)
    if form != "nine":
        return f"call_{digest.hexdigest()}"
    number, base = int.from_bytes(digest.digest(), "big"), len(_LETTERS)
    return "".join(_LETTERS[number // base**place % base] for place in range(_NINE))
