"""Anthropic's Messages API: requests in, events out."""
