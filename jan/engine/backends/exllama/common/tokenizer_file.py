"""A tokenizer.json: tokenises prompts with Hugging Face's library, as its whole pipeline would."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from jan.engine.prompts.segments import MarkedPrompt, SpecialToken, SpecialTokens
from jan.engine.prompts.tokenizing import PromptTokenizer
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

# A Metaspace that puts a space before the first text of a prompt, but not before later ones.
_FIRST = re.compile(r'("prepend_scheme"\s*:\s*)"first"')
_TYPE = re.compile(r'"type":"(\w+)"')
# Normalisers under which every byte of a text is a byte of a token, and what makes a space the character for it.
_KEEPING = {"Sequence", "Prepend", "Replace"}
_SPACES = '"pattern":{"String":" "}'
# NFC makes a text shorter by this factor at most: three letters of Hangul, of 9 bytes, become one of 3.
_COMPOSED = 3.0


class TokenizerFile:
    """The tokenizer of a tokenizer.json. Raises ConfigurationError if the file can't be read."""

    def __init__(self, file: Path) -> None:
        try:
            source = file.read_text(encoding="utf-8")
            self.tokenizer = _whole(source)
            self._plain = _whole(source)
        except Exception as error:
            raise ConfigurationError(f"{file} can't be read: {reason_of(error)}.") from error
        # To these, control tokens that are spelled in a text are text.
        self._plain.encode_special_tokens = True
        self._later = self._plain
        if _FIRST.search(source):
            self._later = _whole(_FIRST.sub(r'\1"never"', source))
            self._later.encode_special_tokens = True

    def prompt_tokenizer(self, pieces: list[bytes]) -> PromptTokenizer:
        """Return the tokenizer of prompts. ``pieces``: the bytes of each token."""
        added = self.tokenizer.get_added_tokens_decoder().items()
        special = SpecialTokens(
            SpecialToken(token, entry.content, entry.special, lstrip=entry.lstrip, rstrip=entry.rstrip)
            for token, entry in added
        )
        control = {token for token, entry in added if entry.special}
        ordinary = [piece for token, piece in enumerate(pieces) if token not in control]
        return _FolderPrompts(self, special, ordinary)

    def plain(self, text: str, first: bool = True) -> list[int]:
        """Return the token ids of a text in which spelled control tokens are text.

        ``first``: it is the beginning of a prompt.
        """
        return ids_of(self._plain if first else self._later, text)

    def shrinks(self) -> float:
        """Return how much shorter a text can become before it is tokenised, as ``TokenBound`` takes it."""
        if "ByteLevel" not in state_of(self.tokenizer.decoder) and not getattr(
            self.tokenizer.model, "byte_fallback", False
        ):
            return 0.0  # any number of unknown characters may become one token
        normalizer = state_of(self.tokenizer.normalizer)
        types = _TYPE.findall(normalizer)
        if not set(types) <= {*_KEEPING, "NFC"} or types.count("Replace") != normalizer.count(_SPACES):
            return 0.0
        return _COMPOSED if "NFC" in types else 1.0


class _FolderPrompts(PromptTokenizer):
    """Leaves a prompt without marks to the library, whose search for special tokens takes linear time."""

    def __init__(self, file: TokenizerFile, special: SpecialTokens, pieces: list[bytes]) -> None:
        super().__init__(special, file.plain, pieces, shrinks=file.shrinks())
        self._whole = file.tokenizer

    def _encoded(self, prompt: MarkedPrompt, parts: list[int | str]) -> Iterator[list[int]]:
        if prompt.mark and prompt.mark in prompt.text:
            yield from super()._encoded(prompt, parts)
        else:
            yield ids_of(self._whole, prompt.text)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the token ids of a text."""
    # Not ``encode``, which holds Python's lock.
    [encoding] = tokenizer.encode_batch_fast([text], add_special_tokens=False)
    ids: list[int] = encoding.ids
    return ids


def _whole(source: str) -> Tokenizer:
    """Return a tokenizer that neither cuts nor fills up a text, whatever its file says."""
    tokenizer = Tokenizer.from_str(source)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def state_of(part: Any) -> str:
    """Return the JSON of a tokenizer's part."""
    # Its pickle is its part of the file. Decoding the whole file would take a tenth of a second.
    return part.__getstate__().decode() if part else ""
