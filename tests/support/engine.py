"""Engines without a server, as plugin authors run them too."""

from jan.testing.engines import collect, end_of, run_engine, text_of, text_request

__all__ = ["collect", "end_of", "run_engine", "text_of", "text_request"]
