"""Building templates: from a list of steps to an image that sandboxes start from."""
