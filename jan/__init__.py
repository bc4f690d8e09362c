"""Jan Server: a self-hosted, OpenAI-compatible LLM server in one process."""

from jan.routing.moved import OldNames

__version__ = "0.1.0"

OldNames.install()
