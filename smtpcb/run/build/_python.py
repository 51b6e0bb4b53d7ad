"""An object of the user's own, which ``--handler python:MODULE.NAME`` names."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import sysconfig
import traceback

from smtpcb.run._meant import did_you_mean, nearest
from smtpcb.run._start import one_line
from smtpcb.run.options import ConfigurationError


def import_handler(path: str, where: str) -> object:
    """
    Return what a dotted path names.

    It is looked for in the current folder too, behind the standard library.

    :raises ConfigurationError: it cannot be imported; the line says where it failed.
    """
    module_name, _, attribute = path.rpartition(".")
    dotted = as_dotted(path)
    if not module_name or (dotted is not None and dotted != f"python:{path}"):
        meant = did_you_mean(dotted)
        raise ConfigurationError(
            f"{where}: MODULE.NAME is wanted, such as python:inbox.Inbox{meant}"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(_place_for_own_modules(), os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}: " if len(frames) > 1 else ""
        meant = ""
        if place.startswith("<frozen importlib"):
            place, meant = "", did_you_mean(_module_meant(module_name, attribute))
        raise ConfigurationError(
            f"{where}: cannot import {module_name}: {place}{type(error).__name__}: "
            f"{one_line(error)}{meant}"
        ) from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        found = nearest(attribute, [name for name in dir(module) if not name.startswith("_")])
        meant = did_you_mean(None if found is None else f"python:{module_name}.{found}")
        raise ConfigurationError(f"{where}: {module_name} has no {attribute}{meant}") from None


def as_dotted(said: str) -> str | None:
    """
    Return what ``inbox.Inbox``, ``inbox:Inbox`` and ``shop/inbox.py:Inbox`` are called here.

    Other servers have them so; ``None``: it cannot be read that way.
    """
    said = said.removeprefix("./").removesuffix("()")
    dotted = said.replace(".py:", ".").replace("/", ".").replace(":", ".")
    parts = dotted.split(".")
    if len(parts) < 2 or parts[-1] == "py" or not all(part.isidentifier() for part in parts):
        return None
    return f"python:{dotted}"


def _module_meant(module_name: str, attribute: str) -> str | None:
    """Return what stands where a module was looked for, and has nearly its name."""
    package, _, last = module_name.rpartition(".")
    places = None
    if package:
        above = sys.modules.get(package)
        places = getattr(above, "__path__", None)
        if places is None:
            return _module_meant(package, f"{last}.{attribute}")
    found = nearest(last, [one.name for one in pkgutil.iter_modules(places)])
    if found in (None, last):
        return None
    return f"python:{package}{package and '.'}{found}.{attribute}"


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
