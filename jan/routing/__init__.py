"""From the YAML route table to handlers, and from their operations to the OpenAPI document."""
