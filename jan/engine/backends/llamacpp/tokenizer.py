"""Tokenise for a GGUF file: its special tokens, the bytes of its tokens, the tokens around a prompt."""

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from jan.engine.prompts.segments import ASCII_WHITESPACE, MarkedPrompt, SpecialToken, SpecialTokens
from jan.engine.prompts.tokenizing import PromptTokenizer
from jan.engine.prompts.vocabulary import bytes_of_bpe, bytes_of_sentencepiece
from jan.errors import ConfigurationError

# llama.cpp's numbers for kinds of vocabularies (llama_vocab_type).
_SENTENCEPIECE, _BYTE_LEVEL_BPE, _WORDPIECE, _UNIGRAM = 1, 2, 3, 4
_NAMES = MappingProxyType(
    {_SENTENCEPIECE: "SentencePiece", _BYTE_LEVEL_BPE: "BPE", _WORDPIECE: "WordPiece", _UNIGRAM: "Unigram"}
)
# BERT's tokenizer takes a longer word as one unknown token, and llama.cpp cuts it up, which takes seconds. The
# characters that it takes one by one are no part of a word.
_LONG_WORD = re.compile(r"[^\W_\u3400-\u9fff\uf900-\ufaff]{101,}")
# A symbol that no known vocabulary of BERT has (the last hexagram of the I Ching).
_UNKNOWN_WORD = "\u4dff"
# llama.cpp's attributes of tokens (llama_token_attr).
_UNKNOWN, _CONTROL, _USER_DEFINED, _LSTRIP, _RSTRIP = 1, 8, 16, 128, 256


class GgufTokenizer:
    """The vocabulary of a GGUF file, read once at load. Thread-safe.

    ``pieces``: the bytes of each token. ``control``: ids of control tokens. ``begin``, ``end``: the tokens that
    belong around every prompt. ``between``: those between two texts that are read together. ``kind``: the name of
    its kind.

    Args:
        vocab: llama.cpp's vocabulary.
        says_separator: the file has a key for the separator of two texts. Older ones have none, and need it.

    Raises:
        ConfigurationError: for a kind of vocabulary that is not BPE, SentencePiece or WordPiece.
    """

    def __init__(self, vocab: Any, *, says_separator: bool = True) -> None:
        self._vocab = vocab
        self.control = [token for token in range(vocab.n_vocab) if vocab.is_control(token)]
        self.pieces = self._pieces()
        self.begin = [int(vocab.token_bos())] if vocab.get_add_bos() else []
        self.end = [int(vocab.token_eos())] if vocab.get_add_eos() else []
        self.kind = _NAMES[vocab.vocab_type]
        self._words = words = vocab.vocab_type == _WORDPIECE
        if words:
            self.end = [int(vocab.token_sep())]
        # RoBERTa was trained with both; BERT's separator is its end already.
        separates = vocab.get_add_sep() or not says_separator
        separator = int(vocab.token_sep()) if separates and not words else -1
        self.between = [*self.end, *([separator] if separator >= 0 else [])]
        special = list(self._special())
        ordinary = [piece for token, piece in enumerate(self.pieces) if not self._vocab.is_control(token)]
        self._prompts = PromptTokenizer(
            SpecialTokens(special, longest_first=True, whitespace=ASCII_WHITESPACE),
            self._plain,
            ordinary,
            # Of WordPiece, any word can be one token, the unknown one.
            shrinks=0.0 if words else 1.0,
        )

    @property
    def special(self) -> SpecialTokens:
        """The tokens that a prompt can spell."""
        return self._prompts.special

    def tokenize(self, text: str, room: int) -> list[int]:
        """Return the token ids of a text, which may spell control tokens. Raises PromptTooLong."""
        tokens = self._prompts.tokens(MarkedPrompt(text), room)
        return [*self.begin, *tokens, *self.end]

    def tokenize_chat(self, prompt: MarkedPrompt, room: int) -> list[int]:
        """Return the token ids of a rendered chat, with one begin token even if the template spells it too.

        Raises PromptTooLong.
        """
        tokens = self._prompts.tokens(prompt, room)
        begin = [] if tokens[:1] == self.begin else self.begin
        return [*begin, *tokens, *self.end]

    def tokens_of_text(self, text: str, room: int) -> list[int]:
        """Return the token ids of a text alone, in which spelled control tokens are text. Raises PromptTooLong."""
        marks = self.special.marks_for(text)
        return self._prompts.tokens(marks.prompt(marks.mark(text)), room)

    def tokenize_plain(self, text: str) -> list[int]:
        """Return the token ids of a text in which spelled control tokens are text."""
        if self._words:
            text = _LONG_WORD.sub(_UNKNOWN_WORD, text)
        return list(self._vocab.tokenize(text, False, False))

    def _plain(self, text: str, _first: bool) -> list[int]:
        # llama.cpp tokenises every text between special tokens like a first one.
        return self.tokenize_plain(text)

    def _special(self) -> Iterator[SpecialToken]:
        for token in range(self._vocab.n_vocab):
            attributes = int(self._vocab.get_attr(token))
            if attributes & (_UNKNOWN | _CONTROL | _USER_DEFINED):
                yield SpecialToken(
                    token,
                    self._vocab.get_text(token),
                    control=bool(attributes & (_UNKNOWN | _CONTROL)),
                    lstrip=bool(attributes & _LSTRIP),
                    rstrip=bool(attributes & _RSTRIP),
                )

    def _pieces(self) -> list[bytes]:
        vocab = self._vocab
        spelled = [(vocab.get_text(token), bool(vocab.is_control(token))) for token in range(vocab.n_vocab)]
        kind = vocab.vocab_type
        if kind == _BYTE_LEVEL_BPE:
            return bytes_of_bpe(spelled)
        if kind in (_SENTENCEPIECE, _WORDPIECE, _UNIGRAM):  # GGUF files mark the beginning of words alike
            return bytes_of_sentencepiece(text for text, _ in spelled)
        raise ConfigurationError(
            f"This GGUF file's vocabulary (type {kind}) is not BPE, SentencePiece or WordPiece."
        )
