"""Settings of tracing: where OpenTelemetry's traces are sent."""

from typing import Annotated

import msgspec

from jan.settings.addresses import is_safe_url


class TracingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Traces of requests.

    - ``endpoint``: the collector's OTLP/HTTP URL for traces. Empty: no traces.
    - ``sample_ratio``: the share of requests that are traced, unless the client's ``traceparent`` decides.
    """

    endpoint: str = ""
    service_name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "jan-server"
    sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if self.endpoint and not is_safe_url(self.endpoint):
            raise ValueError(
                "endpoint: Not a safe URL; allowed: https:// without a password, or http:// on loopback, like "
                "http://localhost:4318/v1/traces. Headers come from OTEL_EXPORTER_OTLP_HEADERS."
            )
