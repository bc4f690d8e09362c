"""Load a GGUF model: weights, vocabulary, chat template."""

import os
from functools import cached_property
from pathlib import Path

import cyllama.llama.llama_cpp as llama

from jan.engine.backends.llamacpp.tokenizer import GgufTokenizer
from jan.engine.base import TokenizerForms
from jan.engine.grammars.constraint import GrammarCompiler, Vocabulary
from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.dialects import PLAIN, ReasoningOption, ToolFormatOption
from jan.engine.prompts.segments import ControlTokensOption
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

# The key of the chat template. A dot and a name follow in the keys of others.
_TEMPLATE = "tokenizer.chat_template"
# The key that says whether a token of its own separates two texts.
_SEPARATOR = "tokenizer.ggml.add_sep_token"


class _LogitsModel(llama.LlamaModel):  # type: ignore[misc]
    """Adds ``n_vocab``, which cyllama 0.2's ``get_logits_ith`` reads and its own class lacks."""

    @property
    def n_vocab(self) -> int:
        return int(self.get_vocab().n_vocab)


class GgufModel:
    """Weights, and everything else that is read from the file once, at load, so that no request waits for it.

    ``without_weights``: no memory is taken for them, and nothing can be computed.
    """

    def __init__(
        self,
        file: Path,
        gpu_layers: int,
        *,
        tool_format: ToolFormatOption = "auto",
        reasoning: ReasoningOption = "auto",
        control_tokens: ControlTokensOption = "text",
        without_weights: bool = False,
    ) -> None:
        llama.disable_logging()
        llama.llama_backend_init()
        parameters = llama.LlamaModelParams()
        parameters.n_gpu_layers = gpu_layers
        if without_weights:
            parameters.no_alloc, parameters.use_mmap = True, False
        try:
            self.weights = _LogitsModel(os.fspath(file), parameters)
        except (ValueError, OSError, RuntimeError) as error:
            raise ConfigurationError(f"Model file {file} can't be loaded: {reason_of(error)}.") from error
        self.vocab = self.weights.get_vocab()
        self._metadata: dict[str, str] = self.weights.metadata()
        self.trained_context = int(self.weights.n_ctx_train)
        self.stop_tokens = frozenset(token for token in range(self.vocab.n_vocab) if self.vocab.is_eog(token))
        fill = (int(self.vocab.fim_prefix()), int(self.vocab.fim_suffix()), int(self.vocab.fim_middle()))
        self.fill_tokens = fill if min(fill) >= 0 else None
        self._tokenizer = GgufTokenizer(self.vocab, says_separator=_SEPARATOR in self._metadata)
        self.pieces, self.control_tokens = self._tokenizer.pieces, self._tokenizer.control
        self.tokenize, self.tokenize_chat = self._tokenizer.tokenize, self._tokenizer.tokenize_chat
        self.tokenize_plain, self.tokens_of_text = self._tokenizer.tokenize_plain, self._tokenizer.tokens_of_text
        self.begin, self.end = self._tokenizer.begin, self._tokenizer.end
        self.between = self._tokenizer.between
        begin = int(self.vocab.token_bos())
        self.begin_token = begin if begin >= 0 else int(self.vocab.token_eos())
        # A recurrent model has one state for a whole sequence: no prefix of it can be cut off or shared.
        self.shares_prefixes = not (self.weights.is_recurrent() or self.weights.is_hybrid())
        self.template = self._template(tool_format, reasoning, control_tokens)
        self.name = self._metadata.get("general.name", file.stem)

    @cached_property
    def grammars(self) -> GrammarCompiler:
        """Compiles output formats. Only models that generate need it, so it is made when they are loaded."""
        return GrammarCompiler(self._vocabulary(), self.template.dialect if self.template else PLAIN)

    @property
    def tokenizer(self) -> TokenizerForms:
        """How the model tokenises."""
        ends = (int(self.vocab.token_bos()), int(self.vocab.token_eos()))
        begin, end = (self.spelling_of(token) if token >= 0 else "" for token in ends)
        return TokenizerForms(
            kind=self._tokenizer.kind,
            size=len(self.pieces),
            begin=begin,
            end=end,
            chat_template=self.template.source if self.template else "",
        )

    def spelling_of(self, token: int) -> str:
        """Return a token as the vocabulary spells it."""
        return str(self.vocab.get_text(token))

    def text_of(self, tokens: list[int]) -> str:
        """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")

    def _vocabulary(self) -> Vocabulary:
        end = int(self.vocab.token_eos())
        ends = [end, *sorted(self.stop_tokens - {end})]
        return Vocabulary(self.pieces, self.control_tokens, ends, self.tokenize_plain)

    def _template(
        self, tool_format: ToolFormatOption, reasoning: ReasoningOption, control_tokens: ControlTokensOption
    ) -> ChatTemplate | None:
        source = self._metadata.get(_TEMPLATE)
        if not source:
            return None
        named = {
            key.removeprefix(f"{_TEMPLATE}."): text
            for key, text in self._metadata.items()
            if key.startswith(f"{_TEMPLATE}.")
        }
        begin, end = int(self.vocab.token_bos()), int(self.vocab.token_eos())
        # If the tokenizer adds BOS itself, the template must not add another one.
        bos = "" if self._tokenizer.begin or begin < 0 else self.pieces[begin].decode()
        eos = self.pieces[end].decode() if end >= 0 else ""
        special = None if control_tokens == "allow" else self._tokenizer.special
        return ChatTemplate(
            source, bos, eos, tool_format=tool_format, reasoning=reasoning, named=named, special=special
        )

    def close(self) -> None:
        """Free the model's weights."""
        self.weights.close()
