"""The control plane: API, lifecycle, front door and the runtime driver."""
