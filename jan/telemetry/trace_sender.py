"""Make what sends traces, as configured: nothing without a collector."""

from jan.errors import ConfigurationError
from jan.settings import TracingSettings
from jan.telemetry.request_record import Tracing


def make_tracing(settings: TracingSettings) -> Tracing | None:
    """Make what sends traces. None if no collector is configured. Raises ConfigurationError without its
    packages."""
    if not settings.endpoint:
        return None
    try:
        from jan.telemetry.tracing import OtlpTracing
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"tracing.endpoint: It needs the package '{error.name}'. Install jan-server[otel], or leave it empty."
        ) from None
    return OtlpTracing(settings)
