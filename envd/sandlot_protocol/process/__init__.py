"""Generated messages of the process service."""
