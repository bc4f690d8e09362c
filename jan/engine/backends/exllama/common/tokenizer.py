"""Text to tokens and back for a Hugging Face folder: vocabulary, end tokens, chat template."""

from itertools import chain

import msgspec
from tokenizers import Tokenizer

from jan.engine.backends.exllama.common.folder import ModelFolder
from jan.engine.grammars.constraint import GrammarCompiler, Vocabulary
from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.dialects import PLAIN, ReasoningOption, ToolFormatOption
from jan.engine.prompts.vocabulary import bytes_of_bpe, bytes_of_sentencepiece
from jan.errors import ConfigurationError

# Tokens that end an answer in whatever model has them; folders often name one of them and forget the rest.
_KNOWN_ENDS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "</s>",
)


class _NamedTemplate(msgspec.Struct, frozen=True):
    name: str
    template: str


class FolderTokens:
    """What is read from the folder at load, so that no request waits for it."""

    def __init__(
        self,
        folder: ModelFolder,
        *,
        tool_format: ToolFormatOption = "auto",
        reasoning: ReasoningOption = "auto",
    ) -> None:
        file = str(folder.path / "tokenizer.json")
        try:
            self._tokenizer = Tokenizer.from_file(file)
            self._plain = Tokenizer.from_file(file)
        except Exception as error:
            raise ConfigurationError(f"{file} can't be read: {error}") from error
        # Control tokens that are spelled in the text are text to this one.
        self._plain.encode_special_tokens = True
        self._settings = folder.read("tokenizer_config.json")
        self.pieces = self._pieces(folder)
        self.longest_piece = max(map(len, self.pieces))
        ends = self._ends(folder)
        if not ends:
            raise ConfigurationError(f"model folder {folder.path} does not say which token ends an answer")
        self.stop_tokens = frozenset(ends)
        self._begin = self._begin_tokens()
        self.begin_token = self._begin[0] if self._begin else ends[0]
        added = self._tokenizer.get_added_tokens_decoder()
        special = [token for token, entry in added.items() if entry.special and token < len(self.pieces)]
        self.template = self._template(folder, tool_format, reasoning)
        vocabulary = Vocabulary(self.pieces, special, ends, self._encode_plain)
        self.grammars = GrammarCompiler(vocabulary, self.template.dialect if self.template else PLAIN)

    def _pieces(self, folder: ModelFolder) -> list[bytes]:
        tokenizer = self._tokenizer
        added = tokenizer.get_added_tokens_decoder()
        size = max(tokenizer.get_vocab().values()) + 1
        # A tokenizer may know more tokens than the model has rows for; those are never to reach it.
        size = min(size, folder.vocab_size or size)
        spelled = [(tokenizer.id_to_token(token) or "", token in added) for token in range(size)]
        # What it is pickled by is its part of the file; the whole of it takes a tenth of a second.
        decoder = tokenizer.decoder.__getstate__().decode() if tokenizer.decoder else ""
        if "ByteLevel" in decoder:
            return bytes_of_bpe(spelled)
        if "ByteFallback" in decoder or "Metaspace" in decoder:
            return bytes_of_sentencepiece(text for text, _ in spelled)
        raise ConfigurationError(f"{folder.path}: tokenizer.json is neither byte-level BPE nor SentencePiece")

    def _ends(self, folder: ModelFolder) -> list[int]:
        named = [folder.read("generation_config.json").get("eos_token_id"), folder.config.get("eos_token_id")]
        ids = chain.from_iterable(entry if isinstance(entry, list) else [entry] for entry in named)
        words = (self._word("eos_token"), *_KNOWN_ENDS)
        found = [*ids, *(self._tokenizer.token_to_id(word) for word in words if word)]
        fitting = [token for token in found if isinstance(token, int) and 0 <= token < len(self.pieces)]
        return list(dict.fromkeys(fitting))

    def _word(self, key: str) -> str:
        """A control token of tokenizer_config.json: a text, or an object that has it."""
        word = self._settings.get(key)
        return str(word.get("content", "") if isinstance(word, dict) else word or "")

    def _begin_tokens(self) -> list[int]:
        """What the tokenizer puts before every text of its own accord."""
        ids: list[int] = self._tokenizer.encode("", add_special_tokens=True).ids
        return [token for token in ids if token not in self.stop_tokens][:1]

    def _template(
        self, folder: ModelFolder, tool_format: ToolFormatOption, reasoning: ReasoningOption
    ) -> ChatTemplate | None:
        file = folder.path / "chat_template.jinja"
        try:
            written = file.read_text(encoding="utf-8") if file.is_file() else self._settings.get("chat_template")
            source = msgspec.convert(written, str | list[_NamedTemplate] | None)
        except (UnicodeDecodeError, msgspec.ValidationError) as error:
            raise ConfigurationError(f"the chat template of {folder.path} can't be read: {error}") from error
        if isinstance(source, list):
            source = next((entry.template for entry in source if entry.name == "default"), None)
        if not source:
            return None
        begin, end = self._word("bos_token"), self._word("eos_token")
        return ChatTemplate(source, begin, end, tool_format=tool_format, reasoning=reasoning)

    def tokenize(self, text: str, *, template: bool) -> list[int]:
        """Token ids; control tokens may be spelled in the text. ``template``: the text has its beginning."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids if template else [*self._begin, *ids]

    def text_of(self, tokens: list[int]) -> str:
        """The text of tokens; bytes that are no UTF-8 as U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")

    def _encode_plain(self, text: str) -> list[int]:
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids
