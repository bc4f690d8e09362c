"""Backend for cross-encoders: models that read two texts together and score the pair."""

from pathlib import Path

import msgspec

from jan.engine.backends.embedding_inputs import TokenizedInputs
from jan.engine.backends.llamacpp.embedding_backend import LlamaCppEmbeddingBackend
from jan.engine.backends.llamacpp.options import LlamaCppOptions
from jan.engine.backends.llamacpp.rank_head import read_rank_head
from jan.engine.backends.pair_inputs import tokenize_pairs
from jan.engine.base import GenerationRequest, ModelInfo, OnProgress


class LlamaCppScoringBackend(LlamaCppEmbeddingBackend):
    """One GGUF model that scores pairs of texts. A pair is computed like one text to embed, and the model's head
    turns the vector of its first token into a logit."""

    def __init__(self, options: LlamaCppOptions, file: Path) -> None:
        super().__init__(options, file, "rank")

    def load(self, progress: OnProgress) -> ModelInfo:
        """Load the weights. Raises ConfigurationError for a model whose scores are not computed here."""
        self._head = read_rank_head(self._file)
        info = super().load(progress)
        return msgspec.structs.replace(info, embeds=None, scores=True, token_prompts=False)

    def tokenize(self, request: GenerationRequest) -> TokenizedInputs:
        """Tokenise the pairs of a request, on any thread. Raises InvalidRequest."""
        return tokenize_pairs(request, self._model, self._context_length)

    def _result(self, positions: range, _dimensions: int) -> bytes:
        return self._head.logit(self._context.get_embeddings_ith(positions[0]))
