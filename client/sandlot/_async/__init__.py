"""The asynchronous client: the other one is generated from it."""
