"""Arguments of a command, where a mistake is one line."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from smtpcb.smtp import printable


class Arguments(argparse.ArgumentParser):
    """
    What reads the words behind ``smtpcb COMMAND``.

    :cvar mistake: the exit status of a mistake.
    """

    mistake = 1

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        print(f"{self.prog}: {printable(message)}; --help explains it", file=sys.stderr)
        raise SystemExit(self.mistake)
