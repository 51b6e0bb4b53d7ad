"""What is public is listed, described and complete, and no page refers to what is not there."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from zope.interface.interface import InterfaceClass, Method

import smtpcb

DOCS = Path(__file__).parent.parent / "docs"

if os.environ.get("SMTPCB_REQUIRE_CLIENTS") != "1":  # in CI its absence is a failure
    pytest.importorskip("sphinx", reason="Sphinx is not installed: sh .ci/setup docs")


def load_face() -> ModuleType:
    """Import what draws the reference."""
    spec = importlib.util.spec_from_file_location("public_face", DOCS / "public_face.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


face: Any = load_face()
ALL = [(module, name) for module in face.FACES for name in face.names_of(module)]


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build pages as they are published; every warning is an error."""
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "--keep-going", "-q", "-b", "html"]
    return subprocess.run(
        [*command, "-c", str(DOCS), "-d", str(target / "doctrees"), str(source), str(target)],
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_no_page_and_no_docstring_refers_to_what_is_not_there(tmp_path: Path) -> None:
    """What looks like a link to a class, a method or a page leads to one."""
    built = build(DOCS, tmp_path)
    assert built.returncode == 0, built.stderr
    assert "wanted" not in built.stderr
    reference = (tmp_path / "api.html").read_text()
    handlers = (tmp_path / "handlers.html").read_text()
    # An interface is where a link to it says, not below its module a second time.
    assert 'href="api.html#smtpcb.interfaces.ISmtpEventHandler"' in handlers
    assert 'id="smtpcb.interfaces.ISmtpEventHandler"' in reference
    assert "smtpcb.interfaces.smtpcb." not in reference


# Pages of their own, with the parts of the reference that they need.
REFERENCE = """\
API
===

.. py:module:: smtpcb.smtp

.. autoclass:: smtpcb.smtp.Reply
.. autoclass:: smtpcb.smtp.Verb

.. py:module:: smtpcb.server

.. py:class:: SmtpService

.. py:module:: smtpcb.interfaces

.. py:class:: ISmtpEventHandler

   .. py:method:: message(envelope)
"""
WELL = (
    "`Reply.closing`",
    "`SmtpService <smtpcb.SmtpService>`",
    "`smtpcb.interfaces.ISmtpEventHandler.message`",
    "`Verb.MAIL`",
    "`twisted.cred.portal.Portal.login`",
    "`collections.abc.Mapping`",
)
DEAD = (
    "`smtpcb.interfaces.ISmtpEventHandlers`",
    "`Reply.closed`",
    "`smtpcb.smtp.Answered`",
    "`Decision`",
    "`twisted.cred.portal.Portals`",
    "`events.Decided`",
    ":doc:`turned`",
)


def test_a_dead_reference_fails_the_build(tmp_path: Path) -> None:
    """Each that is dead is named in the errors, and none that is well."""
    source = tmp_path / "source"
    source.mkdir()
    for name, references in (("well", WELL), ("dead", DEAD)):
        lines = "".join(f"| {one}\n" for one in references)
        (source / f"{name}.rst").write_text(f"{name}\n====\n\n{lines}")
    (source / "api.rst").write_text(REFERENCE)
    (source / "index.rst").write_text("Pages\n=====\n\n.. toctree::\n\n   well\n   dead\n   api\n")
    built = build(source, tmp_path / "html")
    assert built.returncode != 0
    assert "well.rst" not in built.stderr, built.stderr
    complaints = [line for line in built.stderr.splitlines() if "dead.rst" in line]
    for one in DEAD:
        target = one.split("`")[1]
        assert [line for line in complaints if target in line], f"{target}: {built.stderr}"


@pytest.mark.parametrize(("module", "name"), ALL, ids=[".".join(one) for one in ALL])
def test_every_public_name_exists_and_says_what_it_is(module: str, name: str) -> None:
    """It can be imported from where it is listed, and its first line explains it."""
    assert getattr(importlib.import_module(module), name) is face.value_of(name)
    assert len(face.first_sentence(face.docstring_of(name))) > 8


@pytest.mark.parametrize("module", face.FACES)
def test_what_is_public_is_listed_once(module: str) -> None:
    """``__all__`` has no name twice, and nothing private."""
    names = face.names_of(module)
    assert len(set(names)) == len(names)
    assert not any(name.startswith("_") for name in names)


def test_every_public_module_is_in_the_reference() -> None:
    """A module is private by its name, or its names are listed; ``run`` is for twistd alone."""
    package = Path(smtpcb.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not any(part.startswith("_") for part in name.split(".")):
            found.add(name)
    internal = {name for name in found if name.startswith("smtpcb.run")}
    assert found - internal == set(face.FACES)


def test_every_interface_is_public() -> None:
    """What your objects may provide can be imported, and is in the reference."""
    module = importlib.import_module("smtpcb.interfaces")
    defined = {
        name
        for name, value in vars(module).items()
        if isinstance(value, InterfaceClass) and value.__module__ == module.__name__
    }
    assert defined <= set(module.__all__)
    assert defined <= set(smtpcb.__all__)


# In signatures of what is public, and made by us alone: nobody has to name them.
OURS_ALONE = {
    *("Authenticator", "Bearer", "Doorway", "Login", "OsLayer", "Preface", "Settle"),
    "SmtpServerProtocol",
    "TranscriptWriting",
}


def annotations_of(value: Any) -> str:
    """Return the types in the signatures of a function, or of all public ones of a class."""
    if isinstance(value, InterfaceClass):
        methods = [one for _, one in value.namesAndDescriptions() if isinstance(one, Method)]
        return " ".join(one.getSignatureString() for one in methods)
    if not isinstance(value, type):
        value_annotations = getattr(value, "__annotations__", {})
        return " ".join(map(str, value_annotations.values()))
    found = list(inspect.get_annotations(value).values())
    for name, member in vars(value).items():
        if not name.startswith("_") or name == "__init__":
            function = member.fget if isinstance(member, property) else member
            function = getattr(function, "__func__", function)
            found += getattr(function, "__annotations__", {}).values()
    return " ".join(map(str, found))


def our_types() -> set[str]:
    """Return the names of all classes of smtpcb that are not private by name."""
    return {
        name
        for path, module in list(sys.modules.items())
        if path.startswith("smtpcb.")
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__.startswith("smtpcb.") and name[0] != "_"
    }


@pytest.mark.parametrize("name", sorted(face.homes()))
def test_what_a_public_signature_names_is_public(name: str) -> None:
    """Whoever writes types finds those of every argument and result where users import from."""
    named = set(re.findall(r"[A-Za-z_]\w*", annotations_of(face.value_of(name))))
    assert named & our_types() - set(face.homes()) <= OURS_ALONE


def test_what_events_are_given_can_be_imported_from_the_package() -> None:
    """One import line is enough to write a handler with types."""
    text = (DOCS.parent / "smtpcb" / "interfaces.py").read_text()
    methods = text[text.index("class ISmtpEventHandler") : text.index("class IAuthenticator")]
    signatures = " ".join(re.findall(r"^    def .*", methods, re.MULTILINE))
    types = set(re.findall(r"(?:: |-> )(\w+)", signatures)) - {"str", "bytes"}
    assert {"Introduction", "Recipient", "Verdict", "Credentials", "Reason"} <= types
    assert types <= set(smtpcb.__all__)
