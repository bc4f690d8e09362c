"""Tokenise for a Hugging Face folder: vocabulary, stop tokens, chat template."""

from itertools import chain

import msgspec

from jan.engine.backends.exllama.common.folder import ModelFolder
from jan.engine.backends.exllama.common.tokenizer_file import TokenizerFile, state_of
from jan.engine.base import TokenizerForms
from jan.engine.grammars.constraint import GrammarCompiler, Vocabulary
from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.dialects import PLAIN, ReasoningOption, ToolFormatOption
from jan.engine.prompts.segments import ControlTokensOption, MarkedPrompt
from jan.engine.prompts.vocabulary import bytes_of_bpe, bytes_of_sentencepiece
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

# Tokens before the text before a gap, before the text after it, and before what fills it: of Qwen, StarCoder,
# Code Llama, DeepSeek and Codestral.
_FILL_TOKENS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"),
    ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"),
    ("[PREFIX]", "[SUFFIX]", "[MIDDLE]"),
)
# Tokens that end an answer in any model that has them. Folders often name one of them and forget the others.
_KNOWN_STOP_TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "</s>",
)


class _NamedTemplate(msgspec.Struct, frozen=True):
    name: str
    template: str


class FolderTokenizer:
    """The tokenizer of a model folder, read once at load, so that no request waits for it.

    Raises ConfigurationError for a folder whose tokenizer or chat template can't be used.
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        tool_format: ToolFormatOption = "auto",
        reasoning: ReasoningOption = "auto",
        control_tokens: ControlTokensOption = "text",
    ) -> None:
        self._file = TokenizerFile(folder.path / "tokenizer.json")
        self._tokenizer = self._file.tokenizer
        self._settings = folder.read("tokenizer_config.json")
        self.pieces = self._pieces(folder)
        stop_tokens = self._find_stop_tokens(folder)
        if not stop_tokens:
            raise ConfigurationError(f"Model folder {folder.path} does not say which token ends an answer.")
        self.stop_tokens = frozenset(stop_tokens)
        self.begin = self._begin_tokens()
        self.end: list[int] = []
        self.begin_token = self.begin[0] if self.begin else stop_tokens[0]
        added = self._tokenizer.get_added_tokens_decoder()
        special = [token for token, entry in added.items() if entry.special and token < len(self.pieces)]
        self.control_tokens = special
        self.fill_tokens = self._find_fill_tokens()
        self._prompts = self._file.prompt_tokenizer(self.pieces)
        self.template = self._template(folder, tool_format, reasoning, control_tokens)
        vocabulary = Vocabulary(self.pieces, special, stop_tokens, self.tokenize_plain)
        self.grammars = GrammarCompiler(vocabulary, self.template.dialect if self.template else PLAIN)

    def _pieces(self, folder: ModelFolder) -> list[bytes]:
        tokenizer = self._tokenizer
        added = tokenizer.get_added_tokens_decoder()
        size = max(tokenizer.get_vocab().values()) + 1
        # A tokenizer may know more tokens than the model has embeddings for. Those must never reach the model.
        size = min(size, folder.vocab_size or size)
        spelled = [(tokenizer.id_to_token(token) or "", token in added) for token in range(size)]
        decoder = state_of(tokenizer.decoder)
        if "ByteLevel" in decoder:
            return bytes_of_bpe(spelled)
        if "ByteFallback" in decoder or "Metaspace" in decoder:
            return bytes_of_sentencepiece(text for text, _ in spelled)
        raise ConfigurationError(f"{folder.path}/tokenizer.json: It is neither byte-level BPE nor SentencePiece.")

    def _find_stop_tokens(self, folder: ModelFolder) -> list[int]:
        named = [folder.read("generation_config.json").get("eos_token_id"), folder.config.get("eos_token_id")]
        ids = chain.from_iterable(entry if isinstance(entry, list) else [entry] for entry in named)
        ends = {
            word: token for word in _KNOWN_STOP_TOKENS if (token := self._tokenizer.token_to_id(word)) is not None
        }
        if "<|call|>" in ends and "<|return|>" in ends:
            ends.pop("<|end|>", None)  # in harmony it ends a message, and more may follow
        named_end = self._tokenizer.token_to_id(self._word("eos_token") or "\0")
        found = [*ids, named_end, *ends.values()]
        fitting = [token for token in found if isinstance(token, int) and 0 <= token < len(self.pieces)]
        return list(dict.fromkeys(fitting))

    def _find_fill_tokens(self) -> tuple[int, int, int] | None:
        """Return the tokens around a gap that the vocabulary has, by their names in known models."""
        for names in _FILL_TOKENS:
            before, after, middle = (self._tokenizer.token_to_id(name) for name in names)
            if before is not None and after is not None and middle is not None:
                return before, after, middle
        return None

    def _word(self, key: str) -> str:
        """Return a control token of tokenizer_config.json, where it is a text or an object with ``content``."""
        word = self._settings.get(key)
        return str(word.get("content", "") if isinstance(word, dict) else word or "")

    def _begin_tokens(self) -> list[int]:
        """Return the token that the tokenizer adds before every text, if it adds one."""
        ids: list[int] = self._tokenizer.encode("", add_special_tokens=True).ids
        return [token for token in ids if token not in self.stop_tokens][:1]

    def _template(
        self,
        folder: ModelFolder,
        tool_format: ToolFormatOption,
        reasoning: ReasoningOption,
        control_tokens: ControlTokensOption,
    ) -> ChatTemplate | None:
        try:
            templates = self._templates(folder)
        except (UnicodeDecodeError, msgspec.ValidationError) as error:
            raise ConfigurationError(
                f"The chat template of {folder.path} can't be read: {reason_of(error)}."
            ) from error
        source = templates.get("default")
        if not source:
            return None
        begin, end = self._word("bos_token"), self._word("eos_token")
        special = None if control_tokens == "allow" else self._prompts.special
        return ChatTemplate(
            source, begin, end, tool_format=tool_format, reasoning=reasoning, named=templates, special=special
        )

    def _templates(self, folder: ModelFolder) -> dict[str, str]:
        """Return the chat templates by name. Files go before tokenizer_config.json, as in transformers."""
        written = msgspec.convert(self._settings.get("chat_template"), str | list[_NamedTemplate] | None)
        if isinstance(written, list):
            templates = {entry.name: entry.template for entry in written}
        else:
            templates = {"default": written or ""}
        if (file := folder.path / "chat_template.jinja").is_file():
            templates["default"] = file.read_text(encoding="utf-8")
        for file in sorted(folder.path.glob("additional_chat_templates/*.jinja")):
            templates[file.stem] = file.read_text(encoding="utf-8")
        return templates

    def tokenize(self, text: str, room: int) -> list[int]:
        """Return the token ids of a text, which may spell control tokens, after the begin token.

        Raises PromptTooLong.
        """
        return [*self.begin, *self._prompts.tokens(MarkedPrompt(text), room)]

    def tokenize_chat(self, prompt: MarkedPrompt, room: int) -> list[int]:
        """Return the token ids of a rendered chat, whose template spells the begin token itself.

        Raises PromptTooLong.
        """
        return self._prompts.tokens(prompt, room)

    @property
    def forms(self) -> TokenizerForms:
        """How the model tokenises."""
        return TokenizerForms(
            kind=type(self._tokenizer.model).__name__,
            size=len(self.pieces),
            begin=self._word("bos_token"),
            end=self._word("eos_token"),
            chat_template=self.template.source if self.template else "",
        )

    def spelling_of(self, token: int) -> str:
        """Return a token as the vocabulary spells it."""
        return self._tokenizer.id_to_token(token) or ""

    def text_of(self, tokens: list[int]) -> str:
        """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")

    def tokenize_plain(self, text: str) -> list[int]:
        """Return the token ids of a text in which spelled control tokens are text, without a begin token."""
        return self._file.plain(text)
