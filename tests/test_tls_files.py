"""Identities in many files and folders: which there are, who is shown which, what changes do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from smtpcb.tls import Identity, IdentityError, IdentityFiles, ServerTls
from tests.certificates import Issued, make_authority, make_identity, unchecked, write_pem
from tests.test_tls import Session

MAIL = make_identity(["mail.example.org"])
RENEWED = make_identity(["mail.example.org"])
LISTS = make_identity(["lists.example.org"])
WEB = make_identity(["www.example.net"])


@pytest.fixture
def logged() -> Iterator[Callable[[], list[str]]]:
    """What the log has said since it was last asked."""
    with capturedLogs() as events:

        def texts() -> list[str]:
            said = [formatEvent(event) for event in events]
            events.clear()
            return said

        yield texts


def both(path: Path, issued: Issued) -> Path:
    """Write certificate and key into one file."""
    return write_pem(path, issued.certificate, issued.private_key)


class Certbot:
    """A folder as certbot keeps it: links below ``live``, which are exchanged at a renewal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.live = folder / "live"
        self.live.mkdir(parents=True)
        (self.live / "README").write_text("This directory contains your keys and certificates.")

    def obtain(self, name: str, issued: Issued, number: int = 1) -> None:
        """Write a pair, and have the links lead to it, as certbot does after a renewal."""
        self.write(name, issued, number)
        for part in ("privkey", "cert", "chain", "fullchain"):
            self.link(name, part, number)

    def write(self, name: str, issued: Issued, number: int) -> None:
        archive = self.folder / "archive" / name
        archive.mkdir(parents=True, exist_ok=True)
        write_pem(archive / f"privkey{number}.pem", issued.private_key)
        write_pem(archive / f"cert{number}.pem", issued.certificate)
        write_pem(archive / f"chain{number}.pem", *issued.chain[1:])
        write_pem(archive / f"fullchain{number}.pem", *issued.chain)

    def link(self, name: str, part: str, number: int) -> None:
        (self.live / name).mkdir(exist_ok=True)
        link = self.live / name / f"{part}.pem"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../archive/{name}/{part}{number}.pem")


@pytest.fixture
def certbot(tmp_path: Path) -> Certbot:
    made = Certbot(tmp_path / "letsencrypt")
    made.obtain("mail.example.org", MAIL)
    made.obtain("lists.example.org", LISTS)
    return made


def shown(tls: ServerTls, name: str | None) -> bytes | None:
    """Return what a client is shown that asks for a name."""
    return Session(tls, name=name).certificate


@pytest.mark.parametrize("place", ["", "live"])
def test_certbots_folder(certbot: Certbot, logged: Callable[[], list[str]], place: str) -> None:
    """Each name in it is served; our own name's is for clients that ask for none."""
    files = IdentityFiles(folder=certbot.folder / place, hostname="mail.example.org")
    tls = ServerTls(files)
    assert shown(tls, "lists.example.org") == LISTS.der
    for name in ("mail.example.org", "unknown.example", None):
        assert shown(tls, name) == MAIL.der
    assert logged() == []


def test_the_folder_of_one_name(certbot: Certbot, logged: Callable[[], list[str]]) -> None:
    """A folder below ``live`` is one pair, and its parts are no others."""
    [identity] = IdentityFiles(folder=certbot.live / "lists.example.org")()
    assert identity == LISTS.identity
    assert logged() == []


def test_a_folder_of_pem_files(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    """Each has key and chain; the rest of the folder is somebody else's."""
    both(tmp_path / "b.pem", LISTS)
    both(tmp_path / "a.pem", MAIL)
    (tmp_path / "README").write_text("mine")
    (tmp_path / ".hidden.pem").write_text("half written")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/notes.txt").write_text("")
    files = IdentityFiles(folder=tmp_path)
    assert [*files()] == [MAIL.identity, LISTS.identity]
    assert logged() == []
    assert files.files() == [tmp_path / "a.pem", tmp_path / "b.pem", tmp_path]


def test_a_broken_one_among_good_ones(certbot: Certbot, logged: Callable[[], list[str]]) -> None:
    """It is named, and the others serve."""
    (certbot.folder / "archive/lists.example.org/fullchain1.pem").write_text("torn")
    (certbot.live / "half").mkdir()
    (certbot.live / "half/fullchain.pem").symlink_to("nowhere")
    tls = ServerTls(IdentityFiles(folder=certbot.folder))
    assert shown(tls, "lists.example.org") == MAIL.der
    assert logged() == [
        f"{certbot.live}/half/privkey.pem: No such file or directory; it is left out",
        f"{certbot.live}/lists.example.org/fullchain.pem: no certificate in PEM format; "
        "it is left out",
    ]


def test_a_folder_without_any(tmp_path: Path) -> None:
    """It is a mistake, whether it is empty, missing, or all in it is broken."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(IdentityError, match=r"empty: no certificates: neither NAME/fullchain.pem"):
        ServerTls(IdentityFiles(folder=tmp_path / "empty"))
    with pytest.raises(IdentityError, match="none: No such file or directory"):
        ServerTls(IdentityFiles(folder=tmp_path / "none"))
    (tmp_path / "a.pem").write_text("x")
    with pytest.raises(IdentityError, match=r"a\.pem: no private key in PEM format"):
        ServerTls(IdentityFiles(folder=tmp_path))


def test_those_that_are_named_come_first(tmp_path: Path) -> None:
    """The first of them is for clients without a name; a broken one stops a start."""
    folder = tmp_path / "folder"
    folder.mkdir()
    both(folder / "mail.pem", MAIL)
    pairs = [
        (both(tmp_path / "web.pem", WEB), None),
        (
            write_pem(tmp_path / "lists.crt", LISTS.certificate),
            write_pem(tmp_path / "lists.key", LISTS.private_key),
        ),
    ]
    tls = ServerTls(IdentityFiles(pairs, folder=folder, hostname="mail.example.org"))
    assert [one.source for one in tls.identities] == [
        *(str(tmp_path / "web.pem"), str(tmp_path / "lists.crt"), str(folder / "mail.pem"))
    ]
    assert shown(tls, None) == WEB.der
    (tmp_path / "lists.key").write_text("")
    with pytest.raises(IdentityError, match=r"lists\.key: no private key"):
        ServerTls(IdentityFiles(pairs, folder=folder))


# Who is shown what


ADDRESS = make_identity(["192.0.2.7", "2001:db8::7"])
UMLAUT = make_identity([], common_name="*.bücher.example")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (b"192.0.2.7", ADDRESS),
        (b"2001:DB8:0::7", ADDRESS),
        (b"www.xn--bcher-kva.example", UMLAUT),
        (b"a.b.xn--bcher-kva.example", MAIL),
        (b"mail.example.org.", MAIL),
        (b"\xff\x00..", MAIL),
        (b"", MAIL),
        (b"a" * 300, MAIL),
    ],
)
def test_what_a_client_may_ask_for(asked: bytes, expected: Issued) -> None:
    """IP addresses, A-labels, a dot at the end; nothing that it asks for ends a handshake."""
    from OpenSSL import SSL

    from tests.test_tls import pump, pyopenssl_pair

    tls = ServerTls(lambda: [one.identity for one in (MAIL, ADDRESS, UMLAUT)])
    client, server = pyopenssl_pair(tls, SSL.TLS1_3_VERSION, asked.replace(b"\0", b"?") or b"x")
    pump(client, server)
    certificate = client.get_peer_certificate(as_cryptography=True)
    assert certificate == expected.certificate


def test_one_that_has_expired_steps_back() -> None:
    """certbot begins NAME-0001 when it is asked for other names, and NAME expires."""
    expired = make_identity(["mail.example.org"], days=-1)
    tls = ServerTls(lambda: [one.identity for one in (LISTS, expired, RENEWED)])
    assert shown(tls, "mail.example.org") == RENEWED.der
    assert shown(ServerTls(lambda: [LISTS.identity, expired.identity]), "mail.example.org") == (
        expired.der
    )


# Changes


def looks(tls: ServerTls) -> list[bool]:
    """Look twice, as a server does within a minute."""
    return [tls.refresh(), tls.refresh()]


def test_a_renewal_of_certbot_is_seen(certbot: Certbot) -> None:
    """New names too; nobody has to say so, and what has not changed is not read (P39)."""
    tls = ServerTls(IdentityFiles(folder=certbot.folder))
    assert looks(tls) == [False, False]
    session = Session(tls, name="mail.example.org")
    certbot.obtain("mail.example.org", RENEWED, number=2)
    certbot.obtain("www.example.net", WEB)
    assert looks(tls) == [False, True]
    assert shown(tls, "mail.example.org") == RENEWED.der
    assert shown(tls, "www.example.net") == WEB.der
    session.exchange()
    assert session.certificate == MAIL.der
    assert looks(tls) == [False, False]


def test_files_of_a_pair_that_change_one_after_the_other(
    certbot: Certbot, logged: Callable[[], list[str]]
) -> None:
    """Between the two nothing is read, and a mixed pair is never shown."""
    tls = ServerTls(IdentityFiles(folder=certbot.folder))
    certbot.write("mail.example.org", RENEWED, 2)
    certbot.link("mail.example.org", "privkey", 2)
    assert not tls.refresh()
    certbot.link("mail.example.org", "fullchain", 2)
    assert not tls.refresh()
    assert shown(tls, "mail.example.org") == MAIL.der
    assert tls.refresh()
    assert shown(tls, "mail.example.org") == RENEWED.der
    assert logged() == []


def test_a_mixed_pair_that_stays(certbot: Certbot, logged: Callable[[], list[str]]) -> None:
    """The old pair stays in force, it is said once, and others are renewed all the same (P39)."""
    tls = ServerTls(IdentityFiles(folder=certbot.folder))
    certbot.write("mail.example.org", RENEWED, 2)
    certbot.link("mail.example.org", "privkey", 2)
    certbot.obtain("lists.example.org", WEB, 2)
    assert looks(tls) == [False, True]
    assert logged() == [
        f"{certbot.live}/mail.example.org/fullchain.pem: the private key does not match the "
        "certificate; what was read before is used"
    ]
    assert shown(tls, "mail.example.org") == MAIL.der
    assert shown(tls, "www.example.net") == WEB.der
    for _ in range(5):
        assert not tls.refresh()
    assert logged() == []


def test_the_only_pair_broken(tmp_path: Path) -> None:
    """It is an error once, and no more until it changes again."""
    path = both(tmp_path / "id.pem", MAIL)
    tls = ServerTls(IdentityFiles([(path, None)]))
    path.write_text("torn")
    assert not tls.refresh()
    with pytest.raises(IdentityError, match="no private key"):
        tls.refresh()
    assert looks(tls) == [False, False]
    assert shown(tls, None) == MAIL.der
    both(path, RENEWED)
    assert looks(tls) == [False, True]
    assert shown(tls, None) == RENEWED.der


def test_a_change_that_only_the_clock_shows(tmp_path: Path) -> None:
    """Overwritten in place, with as many octets: its time tells."""
    path = both(tmp_path / "id.pem", MAIL)
    tls = ServerTls(IdentityFiles([(path, None)]))
    os.utime(path, (1, 1))
    assert looks(tls) == [False, True]


def test_a_name_that_has_gone(certbot: Certbot) -> None:
    """It is not served any more; that of the folder itself leaves all as it was."""
    tls = ServerTls(IdentityFiles(folder=certbot.folder))
    (certbot.live / "lists.example.org").rename(certbot.folder / "revoked")
    assert looks(tls) == [False, True]
    assert shown(tls, "lists.example.org") == MAIL.der
    certbot.live.rename(certbot.folder / "moved")
    certbot.folder.rename(certbot.folder.with_name("gone"))
    assert not tls.refresh()
    with pytest.raises(IdentityError, match="No such file or directory"):
        tls.refresh()
    assert looks(tls) == [False, False]
    assert shown(tls, None) == MAIL.der


def test_authorities_are_looked_at_too(tmp_path: Path) -> None:
    """Whose certificates count is a file as well."""
    path = write_pem(tmp_path / "ca.pem", make_authority().certificate)
    tls = ServerTls(lambda: [MAIL.identity], client_authorities=path)
    assert looks(tls) == [False, False]
    write_pem(path, make_authority("Another").certificate)
    assert looks(tls) == [False, True]


def test_a_worker_uses_what_it_was_handed(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    """Of each that it cannot read; that it is so is said."""
    good, other = both(tmp_path / "a.pem", RENEWED), tmp_path / "b.pem"
    handed = [
        Identity(one.chain, one.private_key, str(path))
        for one, path in ((MAIL, good), (LISTS, other))
    ]
    files = IdentityFiles([(good, None), (other, None)], before=handed)
    assert [*files()] == [RENEWED.identity, LISTS.identity]
    assert logged() == [f"{other}: No such file or directory; what was read before is used"]
    good.unlink()
    none = IdentityFiles([(good, None), (other, None)], before=handed)
    assert [*none()] == [MAIL.identity, LISTS.identity]
    with pytest.raises(IdentityError):
        none()


# Dates


@pytest.mark.parametrize("broken", [False, True])
def test_dates_are_looked_at_whatever_a_reload_comes_to(
    tmp_path: Path, logged: Callable[[], list[str]], *, broken: bool
) -> None:
    """One that expires within 14 days is said daily, also where its renewal is broken (P39)."""
    soon = make_identity(["mail.example.org"], days=13)
    path = both(tmp_path / "id.pem", soon)
    tls = ServerTls(IdentityFiles([(path, None)]))
    line = f"{path}: the certificate expires on {soon.identity.expires.date()}"
    assert logged() == [line]
    if broken:
        path.write_text("torn")
        with pytest.raises(IdentityError):
            tls.reload()
    else:
        tls.reload()
    assert logged() == [line]


def test_one_that_is_not_valid_yet(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    """Clients refuse it as they do one that has expired."""
    issued = make_identity(["mail.example.org"], begins=2)
    ServerTls(IdentityFiles([(both(tmp_path / "id.pem", issued), None)]))
    begins = issued.identity.begins
    assert logged() == [
        f"{tmp_path}/id.pem: the certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC"
    ]


def test_issuers_expire_too(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    """A chain is as good as its worst link."""
    issuer = make_identity(["Old Authority"], make_authority(), days=-3)
    issued = make_identity(["mail.example.org"], issuer)
    path = write_pem(tmp_path / "id.pem", *issued.chain, issued.private_key)
    ServerTls(IdentityFiles([(path, None)]))
    date = issuer.certificate.not_valid_after_utc.date()
    assert logged() == [f"{path}: the certificate of its issuer CN=Old Authority expired on {date}"]


# Cipher suites


@pytest.mark.parametrize(
    ("ciphers", "complaint"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256:TYPO", "OpenSSL knows no cipher suite 'TYPO'"),
        ("TLS_AES_128_GCM_SHA256:TLS_TYPO", "OpenSSL knows no cipher suite 'TLS_TYPO'"),
        ("ECDHE-RSA-AES128-GCM-SHA256:é", "OpenSSL knows no cipher suite 'é'"),
        ("aNULL:@SECLEVEL=0", "protects nothing"),
        (":", "no cipher suite is named"),
        ("", "no cipher suite is named"),
    ],
)
def test_ciphers_that_mean_nothing(ciphers: str, complaint: str) -> None:
    """Each word is looked at: OpenSSL takes a list of which it knows one word."""
    with pytest.raises(ValueError, match=complaint):
        ServerTls(lambda: [MAIL.identity], ciphers=ciphers)


@pytest.mark.parametrize(
    ("ciphers", "version", "suite"),
    [
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1_2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("HIGH:!aNULL:!AES256:!CHACHA20:@STRENGTH", "TLSv1_2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("TLS_CHACHA20_POLY1305_SHA256", "TLSv1_3", "TLS_CHACHA20_POLY1305_SHA256"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1_3", "TLS_AES_256_GCM_SHA384"),
    ],
)
def test_ciphers_are_used(ciphers: str, version: str, suite: str) -> None:
    """Those that are named; a version of which none is keeps OpenSSL's."""
    import ssl

    context = unchecked()
    context.maximum_version = ssl.TLSVersion[version]
    session = Session(ServerTls(lambda: [MAIL.identity], ciphers=ciphers), context)
    cipher = session.client.cipher()
    assert cipher is not None
    assert cipher[0] == suite
