"""The front door: one port in front of the API and of every sandbox."""
