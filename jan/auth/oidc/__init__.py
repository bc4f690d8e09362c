"""Sign-in with an OpenID Connect provider. Start reading in ``sign_in``."""
