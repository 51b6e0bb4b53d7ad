"""What root makes for the user that the process becomes, and what it gives to nobody."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from smtpcb.run._owner import make_for
from smtpcb.run._start import StartError
from smtpcb.run.build import make_service
from smtpcb.run.options import resolve
from smtpcb.run.workers._supervisor import make_supervisor
from tests.running import ANY_PORT

USER = 65534
OWNER = (USER, USER)

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


def owned(path: Path, mode: int = 0o755) -> Path:
    """Make a folder of the user's."""
    path.mkdir(mode=mode)
    path.chmod(mode)
    os.chown(path, *OWNER)
    return path


def owner_of(path: Path) -> int:
    """Return whose it is, also of a link."""
    return path.lstat().st_uid


def test_what_is_missing_is_made(root: Path) -> None:
    """With those that lead to it; nobody else may look into them."""
    umask = os.umask(0)
    try:
        assert make_for(root / "a/b/state", OWNER)
    finally:
        os.umask(umask)
    for path in (root / "a", root / "a/b", root / "a/b/state"):
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (USER, USER, 0o700)
    assert owner_of(root) == 0
    assert not make_for(root / "a/b/state", OWNER)


def test_only_the_group_may_be_said(root: Path) -> None:
    """The user is then the one it would be anyway."""
    assert make_for(root / "state", (-1, USER))
    assert (owner_of(root / "state"), (root / "state").stat().st_gid) == (0, USER)


def test_what_was_there_is_given_to_nobody(root: Path) -> None:
    """Not the folder, and nothing in it."""
    (root / "state").mkdir()
    (root / "state/secret").write_text("root's")
    assert not make_for(root / "state", OWNER)
    assert {owner_of(path) for path in root.rglob("*")} == {0}


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o1777])
def test_below_a_folder_of_the_user_s_nothing_is_made(root: Path, mode: int) -> None:
    """They make it themselves, with no more rights than they have."""
    owned(root / "home", mode)
    assert not make_for(root / "home/state", OWNER)
    assert not list((root / "home").iterdir())


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_below_a_folder_where_others_may_write_nothing_is_made(root: Path, mode: int) -> None:
    """They could put something else in its place in between."""
    (root / "shared").mkdir()
    (root / "shared").chmod(mode)
    assert not make_for(root / "shared/state", OWNER)
    assert not list((root / "shared").iterdir())


def test_in_a_folder_like_tmp(root: Path) -> None:
    """Nobody can move what root has made there; what is somebody's is left to the user."""
    shared = root / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    (root / "victim").mkdir()
    (shared / "link").symlink_to(root / "victim")
    owned(shared / "theirs")
    assert make_for(shared / "state", OWNER)
    assert owner_of(shared / "state") == USER
    assert not make_for(shared / "link/state", OWNER)
    assert not make_for(shared / "link", OWNER)
    assert not make_for(shared / "theirs/state", OWNER)
    assert not list((root / "victim").iterdir())
    assert owner_of(root / "victim") == 0


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_that_root_has_made_is_followed(root: Path, absolute: bool) -> None:
    """As /var/run is one to /run."""
    (root / "run").mkdir()
    (root / "var").mkdir()
    (root / "var/run").symlink_to(root / "run" if absolute else "../run")
    assert make_for(root / "var/run/state", OWNER)
    assert owner_of(root / "run/state") == USER
    assert owner_of(root / "run") == 0


def test_a_link_that_the_user_has_made_is_not(root: Path) -> None:
    """However it leads, into a folder of root's or to something that is not there yet."""
    home = owned(root / "home")
    (root / "victim").mkdir()
    for name, target in [("link", root / "victim"), ("new", root / "victim/new")]:
        (home / name).symlink_to(target)
        assert not make_for(home / name, OWNER)
        assert not make_for(home / name / "state", OWNER)
    assert not list((root / "victim").iterdir())
    assert owner_of(root / "victim") == 0


def test_links_in_a_circle(root: Path) -> None:
    """They end in nothing."""
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    assert not make_for(root / "a/state", OWNER)


def test_a_file_in_the_way(root: Path) -> None:
    """It is left to who finds it there later, and says so."""
    (root / "file").write_text("")
    assert not make_for(root / "file/state", OWNER)


def test_somebody_who_is_quicker(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is there when it is to be made was made by somebody else: it is theirs."""
    real_open = os.open

    def open_late(path: object, *rest: int, **more: int) -> int:
        if path == "state" and not (root / "state").exists():
            owned(root / "state")
            raise FileNotFoundError
        return real_open(path, *rest, **more)

    monkeypatch.setattr(os, "open", open_late)
    (root / "state").parent.chmod(0o1777)
    assert not make_for(root / "state", OWNER)


def test_nothing_is_touched_before_the_ports_are_bound(root: Path) -> None:
    """Then root makes the state folder, and nothing in it, which is the user's business."""
    values = {"listen": (ANY_PORT,), "state": root / "state"}
    service = make_service(resolve(values, {}), owner=OWNER)
    assert not list(root.iterdir())
    service.privilegedStartService()
    try:
        assert owner_of(root / "state") == USER
        assert not list((root / "state").iterdir())
    finally:
        service.smtp.stopService()


def test_folders_that_are_named(root: Path) -> None:
    """Each of them is made; the state folder only if something is kept in it."""
    values = {
        "listen": (ANY_PORT,),
        "state": root / "state",
        "no_tls": True,
        "handler": f"capture:{root}/mail",
        "transcripts": root / "log/smtp",
    }
    service = make_service(resolve(values, {}), owner=OWNER)
    service.prepare_as_root()
    assert sorted(path.name for path in root.iterdir()) == ["log", "mail"]
    assert {owner_of(path) for path in root.rglob("*")} == {USER}


def test_for_workers_too(root: Path) -> None:
    """They are not root, so whoever starts them makes the folder."""
    values = {"listen": (ANY_PORT,), "state": root / "state", "workers": 2}
    supervisor = make_supervisor(resolve(values, {}), owner=OWNER)
    assert not list(root.iterdir())
    supervisor.privilegedStartService()
    try:
        assert owner_of(root / "state") == USER
    finally:
        supervisor.stopService()


def test_a_folder_that_cannot_be_given_away(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every message would be refused later on: the start ends with one line."""

    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    service = make_service(
        resolve({"listen": (ANY_PORT,), "state": root / "state"}, {}), owner=OWNER
    )
    with pytest.raises(StartError, match="--uid: Operation not permitted"):
        service.privilegedStartService()
    assert capfd.readouterr().err == "smtpcb: --uid: Operation not permitted\n"
    assert service.smtp.ports == []
