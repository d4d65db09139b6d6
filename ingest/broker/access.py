"""Who may connect, and which topics each may publish and subscribe: the access file.

Passwords are kept as scrypt hashes (``python -m ingest.broker --hash-password``). In topic filters ``%u`` stands for
the user and ``%c`` for the client identifier, so that one entry lets every device publish its own topics only.
"""

import hashlib
import hmac
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.broker.topics import covers, filter_fault, matches, split_share
from sensors import InputError

COST, BLOCK, PARALLEL = 1 << 12, 8, 1  # about 10 ms and 4 MB for one password (Percival 2009, RFC 7914)
MAX_LEVELS = 32
_KEYS = {"name", "password", "publish", "subscribe", "max_topics"}


def hash_password(password: bytes, salt: bytes | None = None) -> str:
    """Return what the access file keeps of a password.

    Examples
    --------
    >>> hash_password(b"secret", bytes(16))[:40]
    'scrypt$00000000000000000000000000000000$'
    """
    salt = os.urandom(16) if salt is None else salt
    key = hashlib.scrypt(password, salt=salt, n=COST, r=BLOCK, p=PARALLEL, dklen=32)
    return f"scrypt${salt.hex()}${key.hex()}"


@dataclass(frozen=True, slots=True)
class Rights:
    """What one client may do: topic filters, with user and client identifier put in.

    Parameters
    ----------
    publish, subscribe
        Topic filters.
    max_topics
        How many different topics the user may publish to, 0 for any number.
    topics
        Those of the user so far, all connections together.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    max_topics: int = 0
    topics: set[str] = field(default_factory=set)

    def is_one_more_than_allowed(self, topic: str) -> bool:
        """Return whether a topic is beyond the number that the user may have; else remember it."""
        if not self.max_topics or topic in self.topics:
            return False
        if len(self.topics) >= self.max_topics:
            return True
        self.topics.add(topic)
        return False

    def may_publish(self, topic: str) -> bool:
        """Return whether a topic may be published to."""
        return any(matches(text, topic) for text in self.publish)

    def may_subscribe(self, text: str) -> bool:
        """Return whether a filter asks for nothing but what may be read.

        Examples
        --------
        >>> rights = Rights((), ("city/old/#",))
        >>> rights.may_subscribe("$share/g/city/old/+"), rights.may_subscribe("city/#")
        (True, False)
        """
        below = split_share(text)[1]
        return any(covers(allowed, below) for allowed in self.subscribe)


@dataclass(frozen=True, slots=True)
class User:
    """One entry of the access file."""

    name: str
    password: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    max_topics: int = 0
    topics: set[str] = field(default_factory=set, compare=False)

    def rights(self, user: str, client_id: str) -> Rights:
        """Return the entry's rights for one client; a name that is no single topic level is given none."""
        if any(mark in name for name in (user, client_id) for mark in "+#/"):
            keep = [[text for text in texts if "%" not in text] for texts in (self.publish, self.subscribe)]
            return Rights(tuple(keep[0]), tuple(keep[1]), self.max_topics, self.topics)

        def put(texts: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(text.replace("%u", user).replace("%c", client_id) for text in texts)

        return Rights(put(self.publish), put(self.subscribe), self.max_topics, self.topics)


class Access:
    """The access file, read and checked.

    Parameters
    ----------
    users
        By name.
    anonymous
        What a client without a user may do; None: it may not connect.
    """

    def __init__(self, users: dict[str, User], anonymous: User | None = None) -> None:
        self._users = users
        self._anonymous = anonymous
        self._known: dict[str, bytes] = {}  # keyed digests of passwords that were right: scrypt once for each user
        self._key = os.urandom(32)

    @property
    def users(self) -> Mapping[str, User]:
        """The entries of the file, by name."""
        return self._users

    @property
    def anonymous(self) -> User | None:
        """The entry of clients without a user."""
        return self._anonymous

    @property
    def admits_anybody(self) -> bool:
        """Whether a client without a user may connect."""
        return self._anonymous is not None

    @classmethod
    def read(cls, path: Path) -> "Access":
        """Read an access file.

        Raises
        ------
        InputError
            Naming every fault of the file.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path}: {error}") from None
        faults = [f"{path}: unknown key {key!r}, known are user and anonymous" for key in table if key not in _TOP]
        users: dict[str, User] = {}
        entries = table.get("user", [])
        if not isinstance(entries, list):
            raise InputError(f"{path}: user must be a list of tables, [[user]]")
        for number, entry in enumerate(entries, 1):
            user = _user(entry, f"{path}: [[user]] number {number}", faults, named=True)
            if user.name in users:
                faults.append(f"{path}: [[user]] {user.name!r} is there twice")
            users[user.name] = user
        anonymous = None
        if "anonymous" in table:
            anonymous = _user(table["anonymous"], f"{path}: [anonymous]", faults, named=False)
        if faults:
            raise InputError(faults)
        return cls(users, anonymous)

    def verify(self, name: str | None, password: bytes | None) -> bool:
        """Return whether a user's password is right; some 10 ms, so not for the broker's own thread."""
        user = self._users.get(name or "")
        if user is None or name is None or password is None:
            return False
        _, salt, _ = user.password.split("$")
        right = hmac.compare_digest(hash_password(password, bytes.fromhex(salt)), user.password)
        if right:
            self._known[name] = self._digest(name, password)
        return right

    def rights(self, name: str | None, client_id: str) -> Rights | None:
        """Return what a client may do whose user is verified (None: without one); None: it may not connect."""
        user = self._anonymous if name is None else self._users.get(name)
        return None if user is None else user.rights(name or "", client_id)

    def is_known(self, name: str | None, password: bytes | None) -> bool:
        """Return whether the password was found right before."""
        if name is None or password is None or name not in self._known:
            return False
        return hmac.compare_digest(self._known[name], self._digest(name, password))

    def _digest(self, name: str, password: bytes) -> bytes:
        return hmac.digest(self._key, name.encode() + b"\0" + password, "sha256")


_TOP = {"user", "anonymous"}


def _user(entry: Any, where: str, faults: list[str], *, named: bool) -> User:
    if not isinstance(entry, dict):
        faults.append(f"{where} must be a table")
        return User("", "", (), ())
    known = _KEYS if named else _KEYS - {"name", "password"}
    faults += [
        f"{where}: unknown key {key!r}, known are {', '.join(sorted(known))}" for key in entry if key not in known
    ]
    name, password = entry.get("name", ""), entry.get("password", "")
    if named and (not isinstance(name, str) or not name):
        faults.append(f"{where}: name must be a text")
        name = ""
    if named and not _is_hash(password):
        faults.append(f"{where}: password must be what python -m ingest.broker --hash-password prints")
    most = entry.get("max_topics", 0)
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        faults.append(f"{where}: max_topics is {most!r}, must be a whole number, 0 for any number of topics")
        most = 0
    publish, subscribe = (_texts(entry, key, where, faults) for key in ("publish", "subscribe"))
    return User(name, str(password), publish, subscribe, most)


def _is_hash(text: Any) -> bool:
    parts = text.split("$") if isinstance(text, str) else []
    if len(parts) != 3 or parts[0] != "scrypt" or len(parts[1]) != 32 or len(parts[2]) != 64:
        return False
    try:
        bytes.fromhex(parts[1] + parts[2])
    except ValueError:
        return False
    return True


def _texts(entry: dict[str, Any], key: str, where: str, faults: list[str]) -> tuple[str, ...]:
    texts = entry.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        faults.append(f"{where}: {key} must be a list of topic filters")
        return ()
    for text in texts:
        fault = filter_fault(text, max_levels=MAX_LEVELS)
        if fault:
            faults.append(f"{where}: {key}: {fault}")
    return tuple(texts)
