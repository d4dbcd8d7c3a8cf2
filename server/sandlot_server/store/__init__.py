"""Where sandboxes and templates are remembered."""
