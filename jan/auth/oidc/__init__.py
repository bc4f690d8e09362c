"""Sign-in with an OpenID Connect provider; begin reading in ``sign_in``."""
