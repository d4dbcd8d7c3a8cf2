"""The E2B REST API: parse, call the service, shape the answer."""
