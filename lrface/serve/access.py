"""Who may do what: accounts and API tokens, of which only scrypt hashes are kept, in a file for its owner only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import threading
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import msgspec

from lrface.errors import LrfaceError
from lrface.models.safe_files import read_json

_COST = {"n": 2**15, "r": 8, "p": 3}  # OWASP's choice for 32 MiB; about 0.3 s
_TOKEN_COST = {"n": 2**14, "r": 8, "p": 1}  # 256 random bits need no slow hash
_MOST_MEMORY = 128 * 2**20
_LEAST_PASSWORD, _MOST_PASSWORD = 12, 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_TOKEN = re.compile(r"lrf_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class Role(IntEnum):
    """What somebody may do; each role may do what those before it may."""

    VIEWER = 1
    """See cameras, events, people; identify and verify pictures."""
    OPERATOR = 2
    """Also enrol, rename, merge, name tracks."""
    ADMIN = 3
    """Also remove people, change settings, read the audit log, manage accounts."""

    @classmethod
    def named(cls, text: str) -> Role:
        """The role of a name, such as "viewer"."""
        try:
            return cls[text.upper()]
        except KeyError:
            raise LrfaceError(f"{text!r} is no role: choose viewer, operator or admin") from None

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request.

    Attributes:
        name: Of the account or token.
        role: What they may do.
        csrf: What a change must repeat where the identity comes from a cookie; None for a token.
    """

    name: str
    role: Role
    csrf: str | None = None

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        return f"{'token' if self.csrf is None else 'user'} {self.name}"


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    role: str
    hash: str
    id: str = ""  # of a token


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int = 1
    accounts: list[_Entry] = []
    tokens: list[_Entry] = []


@dataclass(frozen=True, slots=True)
class FirstSecrets:
    """What is made at the first start, and shown once."""

    user: str
    password: str
    token: str


class Access:
    """Accounts and tokens of a file. Thread-safe.

    Args:
        path: The file; it is made by `first_start`.

    Raises:
        LrfaceError: The file is damaged, or others can read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._hashing = threading.Lock()  # one hash at a time: many wrong passwords take one core, not all
        self._known: dict[bytes, tuple[str, Role]] = {}  # tokens that were right, by a keyed hash
        self._key = secrets.token_bytes(32)
        self._file, self._stamp = _File(), self._stamp_now()
        if self._stamp is not None:
            self._file = self._read()

    def first_start(self) -> FirstSecrets | None:
        """Makes the account and the token of an administrator where there is no account yet; None otherwise."""
        if self._stamp is not None:
            return None
        password = self.add_account("admin", Role.ADMIN)
        return FirstSecrets("admin", password, self.add_token("admin", Role.ADMIN))

    def add_account(self, name: str, role: Role, password: str | None = None) -> str:
        """Makes an account, or gives it a new role and password.

        Args:
            name: Letters, digits, dots, dashes, underscores.
            role: What it may do.
            password: At least 12 characters; None: one is made.

        Returns:
            The password.

        Raises:
            LrfaceError: The name or password cannot be used, or the file cannot be written.
        """
        password = _new_password() if password is None else _normal(password)
        if not _LEAST_PASSWORD <= len(password) <= _MOST_PASSWORD:
            raise LrfaceError(f"choose a password of {_LEAST_PASSWORD} to {_MOST_PASSWORD} characters")
        entry = _Entry(_usable(name), str(role), _hash(password, _COST))
        self.refresh()
        with self._lock:
            rest = [each for each in self._file.accounts if each.name != name]
            self._write(_File(accounts=[*rest, entry], tokens=self._file.tokens))
        return password

    def add_token(self, name: str, role: Role) -> str:
        """Makes an API token; one of the same name ends.

        Raises:
            LrfaceError: The name cannot be used, or the file cannot be written.
        """
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        entry = _Entry(_usable(name), str(role), _hash(secret, _TOKEN_COST), identity)
        self.refresh()
        with self._lock:
            rest = [each for each in self._file.tokens if each.name != name]
            self._write(_File(accounts=self._file.accounts, tokens=[*rest, entry]))
        return f"lrf_{identity}_{secret}"

    def remove(self, name: str) -> None:
        """Removes the account and the token of a name.

        Raises:
            LrfaceError: There is none, or it is the last administrator.
        """
        self.refresh()
        with self._lock:
            accounts = [each for each in self._file.accounts if each.name != name]
            tokens = [each for each in self._file.tokens if each.name != name]
            if len(accounts) + len(tokens) == len(self._file.accounts) + len(self._file.tokens):
                raise LrfaceError(f"there is no account or token {name!r}: see `lrface access list`")
            if not any(each.role == "admin" for each in accounts):
                raise LrfaceError(f"{name!r} is the last administrator: make another one first")
            self._write(_File(accounts=accounts, tokens=tokens))

    def refresh(self) -> None:
        """Reads the file again if another process has changed it, as `lrface access` does.

        Raises:
            LrfaceError: The file is damaged, or others can read it.
        """
        if self._stamp_now() == self._stamp:
            return
        with self._lock:
            stamp = self._stamp_now()
            self._file = _File() if stamp is None else self._read()  # without the file nobody gets in
            self._stamp = stamp
            self._known.clear()

    def listed(self) -> list[tuple[str, str, str]]:
        """Kind ("account" or "token"), name and role of each."""
        accounts = [("account", each.name, each.role) for each in self._file.accounts]
        return accounts + [("token", each.name, each.role) for each in self._file.tokens]

    def role_of(self, name: str) -> Role | None:
        """The role of an account now; None where there is none (any more)."""
        return next((Role.named(each.role) for each in self._file.accounts if each.name == name), None)

    def mark_of(self, name: str) -> str | None:
        """What changes with the password of an account, and does not tell it; None where there is no such account."""
        return self.marks().get(f"account {name}", ("", None))[1]

    def marks(self) -> dict[str, tuple[str, str]]:
        """Role, and what changes with the secret, of each "account NAME" and "token NAME"."""
        file = self._file
        entries = [*(("account", each) for each in file.accounts), *(("token", each) for each in file.tokens)]
        return {
            f"{kind} {each.name}": (each.role, hashlib.sha256(each.hash.encode()).hexdigest()) for kind, each in entries
        }

    def by_password(self, name: str, password: str) -> Role | None:
        """The role of an account; None if the name or the password is wrong. Takes as long for either."""
        entry = next((each for each in self._file.accounts if each.name == name), None)
        with self._hashing:
            right = _matches(_normal(password[:_MOST_PASSWORD]), _NOBODY if entry is None else entry.hash)
        return Role.named(entry.role) if right and entry is not None else None

    def known_token(self, token: str) -> Identity | None:
        """Who a token belongs to, if it was right before: without a slow hash."""
        found = self._known.get(hmac.digest(self._key, token.encode(), "sha256"))
        return None if found is None else Identity(*found)

    def by_token(self, token: str) -> Identity | None:
        """Who a token belongs to; None if it is wrong."""
        if (known := self.known_token(token)) is not None:
            return known
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            return None
        entry = next((each for each in self._file.tokens if hmac.compare_digest(each.id, parts[1])), None)
        if entry is None:
            return None
        with self._hashing:
            if not _matches(parts[2], entry.hash):
                return None
        found = entry.name, Role.named(entry.role)
        with self._lock:
            if entry in self._file.tokens:
                self._known[hmac.digest(self._key, token.encode(), "sha256")] = found
        return Identity(*found)

    def _read(self) -> _File:
        try:
            if os.name == "posix" and self.path.stat().st_mode & 0o077:
                raise LrfaceError(f"{self.path} can be read by others: run `chmod 600 {self.path}`")
            found = msgspec.convert(read_json(self.path), _File)
            for each in (*found.accounts, *found.tokens):
                Role.named(each.role)
                _split(each.hash)
        except (OSError, ValueError) as error:
            raise LrfaceError(
                f"{self.path} cannot be used ({error}): restore a copy, or move it away, and new secrets are made"
            ) from error
        return found

    def _write(self, file: _File) -> None:
        """Beside, then renamed: a crash leaves the old file or the new one."""
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
                out.write(msgspec.json.format(msgspec.json.encode(file), indent=1))
                out.flush()
                os.fsync(out.fileno())
            beside.replace(self.path)
        except OSError as error:
            raise LrfaceError(f"cannot write {self.path} ({error.strerror}): check the folder and the disk") from error
        self._file, self._stamp = file, self._stamp_now()
        self._known.clear()

    def _stamp_now(self) -> tuple[int, int] | None:
        """Changes when the file does; None without a file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino


def _new_password() -> str:
    """Four groups of five letters and digits that are not mistaken for one another: 98 bits."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _usable(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise LrfaceError(f"{name!a} cannot be an account: use up to 40 letters, digits, dots, dashes, underscores")
    return name


def _hash(secret: str, cost: dict[str, int]) -> str:
    salt = secrets.token_bytes(16)
    derived = hashlib.scrypt(secret.encode(), salt=salt, maxmem=_MOST_MEMORY, dklen=32, **cost)
    texts = [base64.b64encode(value).decode() for value in (salt, derived)]
    return "$".join(["scrypt", str(cost["n"]), str(cost["r"]), str(cost["p"]), *texts])


def _split(stored: str) -> tuple[dict[str, int], bytes, bytes]:
    kind, n, r, p, salt, derived = stored.split("$")
    if kind != "scrypt":
        raise ValueError(f"a hash of the kind {kind[:20]!a}")
    return {"n": int(n), "r": int(r), "p": int(p)}, base64.b64decode(salt), base64.b64decode(derived)


def _matches(secret: str, stored: str) -> bool:
    cost, salt, derived = _split(stored)
    found = hashlib.scrypt(secret.encode(), salt=salt, maxmem=_MOST_MEMORY, dklen=len(derived), **cost)
    return hmac.compare_digest(found, derived)


_NOBODY = "$".join(["scrypt", *(str(value) for value in _COST.values()), "A" * 22 + "==", "A" * 43 + "="])
"""A hash that no password has: a name that does not exist takes as long to refuse as a wrong password."""
