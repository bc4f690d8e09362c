"""The settings' section ``tracing``: where OpenTelemetry's traces go."""

from typing import Annotated

import msgspec

from jan.settings.addresses import is_safe_url


class TracingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``endpoint``: the collector's OTLP/HTTP URL for traces; empty: none are made. ``sample_ratio``: how many of
    the requests are told of, unless the client's ``traceparent`` has decided."""

    endpoint: str = ""
    service_name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "jan-server"
    sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if self.endpoint and not is_safe_url(self.endpoint):
            raise ValueError(
                "endpoint must be an http:// or https:// URL without a password, like "
                "http://localhost:4318/v1/traces; headers come from OTEL_EXPORTER_OTLP_HEADERS"
            )
