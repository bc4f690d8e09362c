"""Engines: what runs a model. ``base`` is the contract; each library appears only in its own file."""
