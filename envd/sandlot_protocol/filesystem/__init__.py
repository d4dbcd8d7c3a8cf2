"""Generated messages of the filesystem service."""
