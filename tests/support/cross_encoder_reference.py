"""Write the logits that transformers itself gives to pairs of texts, for tests to compare with.

Run by hand, in an environment with transformers (5.24.0 was used) and torch::

    PYTHONPATH=tests python tests/support/cross_encoder_reference.py > tests/support/cross_encoder_logits.json
"""

import json
import sys
from typing import Any

from support.cross_encoders import (
    EPSILON,
    HEADS,
    HIDDEN,
    INNER,
    LAYERS,
    OFFSET,
    PAIRS,
    POSITIONS,
    UNIGRAMS,
    WORDPIECES,
    Kind,
    weights_of,
)


def model_of(kind: Kind) -> Any:
    """Return transformers' model with the weights."""
    import torch
    import transformers

    shape: dict[str, Any] = {
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": POSITIONS + (0 if kind == "bert" else OFFSET),
        "vocab_size": len(WORDPIECES if kind == "bert" else UNIGRAMS),
        "type_vocab_size": 1,
        "layer_norm_eps": EPSILON,
        "num_labels": 1,
        "pad_token_id": 0 if kind == "bert" else 1,
    }
    if kind == "bert":
        model = transformers.BertForSequenceClassification(transformers.BertConfig(**shape))
    else:
        model = transformers.XLMRobertaForSequenceClassification(transformers.XLMRobertaConfig(**shape))
    prefix = "bert." if kind == "bert" else "roberta."
    state = {
        name if name.startswith("classifier") else prefix + name: torch.from_numpy(tensor)
        for name, tensor in weights_of(kind).items()
    }
    missing, unknown = model.load_state_dict(state, strict=False)
    assert not unknown
    assert all(name.endswith(("position_ids", "token_type_ids")) for name in missing)
    return model.eval()


def tokenizer_of(kind: Kind) -> Any:
    """Return Hugging Face's tokenizer, which puts the special tokens around pairs."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    if kind == "bert":
        vocabulary = {piece: number for number, piece in enumerate(WORDPIECES)}
        made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        return made
    made = Tokenizer(models.Unigram(UNIGRAMS, unk_id=3))
    # As the normaliser of XLM-R's files: whitespace is one space.
    made.normalizer = normalizers.Sequence([normalizers.Replace(" {2,}", " "), normalizers.Strip()])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def main() -> None:
    """Print the tokens and the logit of each pair, by kind of model."""
    import torch

    found: dict[str, list[Any]] = {}
    for kind in ("bert", "xlm-roberta"):
        model, tokenizer = model_of(kind), tokenizer_of(kind)
        found[kind] = []
        for one, other in PAIRS:
            ids = tokenizer.encode(one, other).ids
            with torch.no_grad():
                logit = model(torch.tensor([ids])).logits[0, 0].item()
            found[kind].append({"tokens": len(ids), "logit": round(logit, 6)})
    json.dump(found, sys.stdout)
    print()


if __name__ == "__main__":
    main()
