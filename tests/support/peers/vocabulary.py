"""A tokenizer that has the marks of all dialects: one token for each mark, and one for each other character."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

MARKS = tuple((Path(__file__).parent / "marks.txt").read_text().split())
_FIRST_CHARACTER = 1000


class Tokenizer:
    """The part of a tokenizer that parsers of answers ask for.

    Args:
        lacking: marks that are no tokens of this one.
    """

    eos_token, bos_token = "<|endoftext|>", "<s>"
    eos_token_id, bos_token_id = MARKS.index(eos_token), MARKS.index(bos_token)
    is_fast = True
    response_template = response_schema = chat_template = None
    init_kwargs: ClassVar[dict[str, object]] = {}

    def __init__(self, lacking: Iterable[str] = ()) -> None:
        self._ids = {mark: at for at, mark in enumerate(MARKS) if mark not in lacking}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._pieces = re.compile("|".join(map(re.escape, longest_first)) + "|.", re.DOTALL)
        self.all_special_tokens = list(self._ids)
        self.all_special_ids = list(self._ids.values())

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each mark."""
        return dict(self._ids)

    get_added_vocab = get_vocab

    @property
    def vocab(self) -> dict[str, int]:
        """The id of each mark."""
        return self.get_vocab()

    def tokenize(self, text: str) -> list[str]:
        """Return the marks and characters of a text."""
        return self._pieces.findall(text)

    def encode(self, text: str, **options: object) -> list[int]:
        """Return the token ids of a text."""
        return [self._ids[p] if p in self._ids else _FIRST_CHARACTER + ord(p) for p in self.tokenize(text)]

    def decode(self, ids: int | Iterable[int], **options: object) -> str:
        """Return the text of token ids."""
        numbers = [ids] if isinstance(ids, int) else ids
        return "".join(MARKS[i] if i < len(MARKS) else chr(i - _FIRST_CHARACTER) for i in numbers)

    def convert_tokens_to_ids(self, tokens: str | list[str]) -> int | list[int] | None:
        """Return the id of one token, or the ids of several."""
        if isinstance(tokens, str):
            return self._ids.get(tokens)
        return [self.encode(token)[0] for token in tokens]

    def convert_ids_to_tokens(self, ids: list[int], **options: object) -> list[str]:
        """Return the token of each id."""
        return [self.decode(i) for i in ids]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Return the text of tokens."""
        return "".join(tokens)


class HarmonyTokenizer:
    """The tokenizer of gpt-oss, whose parser in vLLM reads tokens and not text."""

    def __init__(self) -> None:
        from openai_harmony import HarmonyEncodingName, load_harmony_encoding

        self._encoding = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text; those that share a character as one."""
        pieces, unfinished = [], []
        for token in self.encode(text):
            unfinished.append(token)
            piece = self.decode(unfinished)
            if "\ufffd" not in piece:
                pieces.append(piece)
                unfinished = []
        return pieces

    def encode(self, text: str, **options: object) -> list[int]:
        """Return the token ids of a text."""
        ids: list[int] = self._encoding.encode(text, allowed_special="all")
        return ids

    def decode(self, ids: list[int], **options: object) -> str:
        """Return the text of token ids."""
        text: str = self._encoding.decode(ids)
        return text

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each mark."""
        return {mark: self.encode(mark)[0] for mark in MARKS if mark.startswith("<|")}
