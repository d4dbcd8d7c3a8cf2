"""Files and folders by RPC, and watching them."""

from sandlot_envd.filesystem.service import build

__all__ = ["build"]
