"""Jan Server: a self-hosted, OpenAI-compatible LLM server in one process."""

__version__ = "0.1.0"
