"""Wire types of requests and responses, one file a resource. Uses only the standard library and msgspec."""
