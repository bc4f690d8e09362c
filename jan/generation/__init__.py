"""The run of one request on a model: tokens reserved, counted and settled, events passed on."""
