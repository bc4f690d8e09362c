"""Shared parts of child processes that read strangers' data: their environment, and messages on their pipes."""
