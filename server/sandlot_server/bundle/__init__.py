"""Bundles: everything that a site without a network needs, in one file."""
