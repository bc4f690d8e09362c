"""Wire types: what requests and responses look like. One file a resource; standard library and msgspec only."""
