"""Sandlot client."""
