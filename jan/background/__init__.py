"""Answers that are made in the background: queued in the store, made by any process, told as they are stored."""
