"""Requests with an Idempotency-Key: carried out once. ``ids`` makes the ids and secrets of what they create."""
