"""
twistd's pid file, when the process that it names is gone.

twistd removes one whose number nobody has any more, and gives up in several lines where somebody
has: but after a crash or in a container, where numbers begin anew, that is any other program, or
the very process that is just starting.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.logger import Logger

from smtpcb.run.options import ConfigurationError

_log = Logger(namespace="smtpcb")


def clear(path: Path) -> None:
    """
    Remove a pid file that was left behind.

    :raises ConfigurationError: it was not, or it is something else; one line says so.
    """
    try:
        # A pipe would be read until somebody writes into it.
        if not path.is_file() and path.exists() and not path.is_dir():
            raise ConfigurationError(f"--pidfile {path}: is no regular file")
        text = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"--pidfile {path}: {error.strerror}") from None
    number = int(text) if text.isascii() and text.isdigit() else 0
    if text and not number:
        raise ConfigurationError(f"--pidfile {path}: it is there, and has no process number in it")
    # An empty one is from a process that was killed, or had no room, when it wrote it.
    if number and number != os.getpid() and _is_twistd(number):
        raise ConfigurationError(
            f"--pidfile {path}: process {number} runs already; stop it, or give this one another "
            "pid file (none: --pidfile=)"
        )
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--pidfile {path}: {error.strerror}") from None
    _log.info("removed {path}, which process {number} left behind", path=path, number=number)


def _is_twistd(number: int) -> bool:
    """Whether a process is there, and is not known to be another program."""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is somebody else's
    try:
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return True  # there is no /proc here
    return b"twist" in command
