"""An object of the user's own, which ``--handler python:MODULE.NAME`` names."""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import traceback

from smtpcb.run._options import ConfigurationError
from smtpcb.run._start import one_line


def import_handler(path: str, where: str) -> object:
    """
    Return what a dotted path names.

    It is looked for in the current folder too, behind the standard library.

    :raises ConfigurationError: it cannot be imported; the line says where it failed.
    """
    module_name, _, attribute = path.rpartition(".")
    if not module_name:
        raise ConfigurationError(f"{where}: MODULE.NAME is wanted, such as python:inbox.Inbox")
    if os.getcwd() not in sys.path:
        sys.path.insert(_place_for_own_modules(), os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}: " if len(frames) > 1 else ""
        if place.startswith("<frozen importlib"):
            place = ""
        raise ConfigurationError(
            f"{where}: cannot import {module_name}: {place}{type(error).__name__}: "
            f"{one_line(error)}"
        ) from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigurationError(f"{where}: {module_name} has no {attribute}") from None


def _place_for_own_modules() -> int:
    """
    Return where in ``sys.path`` the current folder belongs: right behind the standard library.

    A file there that is called ``email.py`` must not be taken for Python's own by everybody who
    imports that; and what is installed must not hide the user's file.
    """
    standard = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    standard |= {os.path.join(folder, "lib-dynload") for folder in standard}
    places = [at for at, folder in enumerate(sys.path) if os.path.realpath(folder) in standard]
    return max(places) + 1 if places else len(sys.path)
