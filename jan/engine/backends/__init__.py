"""The model libraries, each in a room of its own: only there is it imported."""
