"""Parameters of requests that single engines can't serve, each with the reason. The docs' table is made of them
too.
"""

from collections.abc import Mapping
from types import MappingProxyType

from jan.schema.open_body import Unserved


def _lacking(library: str, *names: str) -> dict[str, Unserved]:
    return {name: Unserved(whose="", reason=f"{library} has no such sampler.") for name in names}


_NO_SCORES = Unserved(whose="", reason="The ExLlama engines do not score the prompt's tokens.")

EXLLAMAV2: Mapping[str, Unserved] = MappingProxyType(
    {
        "mirostat": Unserved(whose="", reason="ExLlamaV2 has Mirostat 2.0 only; allowed: 0 or 2.", neutral=(0, 2)),
        "prompt_logprobs": _NO_SCORES,
    }
)

EXLLAMAV3: Mapping[str, Unserved] = MappingProxyType(
    _lacking("ExLlamaV3", "typical_p", "dynatemp_range", "mirostat") | {"prompt_logprobs": _NO_SCORES}
)

_NO_IDS = "The echo engine has words and no token ids."

ECHO: Mapping[str, Unserved] = MappingProxyType(
    {
        name: Unserved(whose="", reason=_NO_IDS)
        for name in (
            "stop_token_ids",
            "allowed_token_ids",
            "bad_words",
            "prompt_logprobs",
            "return_token_ids",
            "truncate_prompt_tokens",
        )
    }
)
