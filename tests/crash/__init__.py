"""Everything is killed at random moments under load; then nothing may be lost, and nothing left over."""
