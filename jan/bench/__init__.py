"""``jan bench``: what this server takes, beside the limit and beside other servers, measured in one run."""
