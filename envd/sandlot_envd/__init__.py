"""The agent that runs as PID 1 inside every sandbox."""
