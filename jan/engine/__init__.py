"""Engines run models. ``base`` is the contract; each model library is imported only in its own backend."""
