"""Shared parts of tests: servers, stores, stand-ins, clients."""
