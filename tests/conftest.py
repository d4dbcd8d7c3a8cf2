"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Programs that tests start take signals as programs do, even when this run was put into the background.

    A shell's background jobs ignore SIGINT, and what nohup starts ignores SIGHUP; children would inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
