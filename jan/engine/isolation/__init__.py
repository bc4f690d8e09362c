"""A model's thread in a process of its own: the process, the socket to it, and both ends of the socket."""
