"""Users, their keys and sessions, as handlers and the command line work with them."""
