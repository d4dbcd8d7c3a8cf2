# Generated from client/sandlot/_async/__init__.py by sandlot._dev.unasync: change that file, not this one.
"""The synchronous client: the other one is generated from it."""
