"""Make handlers of the YAML route table, and the OpenAPI document of their operations."""
