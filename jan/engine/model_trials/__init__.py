"""Try a model's files in a process of its own before they are loaded, so that a wrong one can't end the server."""
