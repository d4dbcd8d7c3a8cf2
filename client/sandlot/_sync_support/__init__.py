"""The parts of the synchronous client that are written by hand, as they cannot be translated from the async one."""
