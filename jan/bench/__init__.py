"""``jan bench``: measure this server, the limit and other servers in one run."""
