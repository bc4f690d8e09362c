"""Parameters of sampling: which tokens may be drawn, and at which temperature."""

from typing import Annotated

from msgspec import Meta

from jan.schema.open_body import OpenStruct

_LARGE = 1_000_000
_ALL = ("vLLM", "SGLang", "llama-server", "TabbyAPI")


def of(*servers: str) -> dict[str, str]:
    """Return metadata that says which other servers have a parameter."""
    return {"of": ", ".join(servers)}


class SamplerFields(OpenStruct, kw_only=True):
    """Parameters that change which tokens may be drawn. ``null`` means the default."""

    temperature: (
        Annotated[float, Meta(ge=0, le=2, description="0 always takes the likeliest token; default 1")] | None
    ) = None
    top_p: Annotated[float, Meta(ge=0, le=1, description="Nucleus sampling; 1 is off")] | None = None
    top_k: (
        Annotated[int, Meta(ge=-1, le=_LARGE, description="Most candidates; 0 and -1 are off", extra=of(*_ALL))]
        | None
    ) = None
    min_p: (
        Annotated[
            float,
            Meta(
                ge=0, le=1, description="Drops tokens below this part of the likeliest; 0 is off", extra=of(*_ALL)
            ),
        ]
        | None
    ) = None
    typical_p: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description="Locally typical sampling; 1 is off",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    top_n_sigma: (
        Annotated[
            float,
            Meta(
                ge=-1,
                le=1000,
                description="Keeps logits within this many standard deviations of the highest; 0 and -1 are off",
                extra=of("llama-server"),
            ),
        ]
        | None
    ) = None
    xtc_probability: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Probability of excluding the top choices but one; 0 is off",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    xtc_threshold: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Least probability of a top choice; default 0.1",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    dynatemp_range: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=2,
                description="Dynamic temperature: temperature plus and minus this, by entropy; 0 is off",
                extra=of("llama-server"),
            ),
        ]
        | None
    ) = None
    dynatemp_exponent: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=10,
                description="Exponent of the entropy in dynamic temperature; default 1",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    min_temp: (
        Annotated[
            float,
            Meta(
                ge=0, le=4, description="Least dynamic temperature, with max_temp; default 1", extra=of("TabbyAPI")
            ),
        ]
        | None
    ) = None
    max_temp: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=4,
                description="Most dynamic temperature; default 1. Off unless above min_temp",
                extra=of("TabbyAPI"),
            ),
        ]
        | None
    ) = None
    mirostat: (
        bool
        | Annotated[
            int,
            Meta(
                ge=0,
                le=2,
                description="1: Mirostat, 2: Mirostat 2.0, instead of the other ways to choose; 0 is off",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    mirostat_tau: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=100,
                description="Target surprise of Mirostat in bits; default 5",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    mirostat_eta: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=10,
                description="Learning rate of Mirostat; default 0.1",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
