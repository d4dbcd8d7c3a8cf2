"""What runs sandboxes: containers, behind one small interface."""
