"""The endpoints. Each is a plugin: one class here, one entry in the YAML route table."""
