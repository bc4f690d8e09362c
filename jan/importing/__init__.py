"""Conversations from files of other applications: finds them in a file, reads them, and makes records of them."""
