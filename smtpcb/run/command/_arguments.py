"""Arguments of a command, where a mistake is one line and exit status 1."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn


class Arguments(argparse.ArgumentParser):
    """What reads the words behind ``smtpcb COMMAND``."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        print(f"{self.prog}: {message}; --help explains it", file=sys.stderr)
        raise SystemExit(1)
