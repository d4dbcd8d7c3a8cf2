"""Commands and PTYs: what runs, who listens to it, what it is sent."""

from sandlot_envd.process.service import build

__all__ = ["build"]
