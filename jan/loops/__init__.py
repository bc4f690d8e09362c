"""Several web loops, each a process of its own, that serve one address together; their supervisor, and what they
share."""
