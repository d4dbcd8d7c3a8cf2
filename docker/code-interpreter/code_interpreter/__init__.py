"""Runs code in Jupyter kernels and speaks E2B's code interpreter protocol on port 49999."""
