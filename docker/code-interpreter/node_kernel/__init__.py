"""Jupyter kernels for JavaScript and TypeScript: Jupyter's wrapper kernel around Node's own REPL."""
