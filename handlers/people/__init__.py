"""Users: their profile, keys, sessions, sign-in and usage."""
