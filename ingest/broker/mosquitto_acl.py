"""The access file in Mosquitto's words, for those who run Mosquitto in the embedded broker's place.

Notes
-----
Source: mosquitto.conf(5), ``acl_file``: lines before the first ``user`` are for clients without a user, nothing is
allowed that is not named. Mosquitto tells the topics of one user by name, not by client identifier.
"""

from collections.abc import Iterator
from pathlib import Path

from ingest.broker.access import Access, User
from sensors import InputError

HEAD = "# Made from {} by python -m ingest.broker --access {} --mosquitto-acl; passwords are mosquitto_passwd's."


def mosquitto_acl(access: Access, source: Path) -> str:
    """Return the text of an ``acl_file`` that allows what an access file allows.

    Parameters
    ----------
    source
        The access file, for messages and the first line.

    Raises
    ------
    InputError
        When an entry says what Mosquitto has no words for.
    """
    faults: list[str] = []
    lines = [HEAD.format(source.name, source.name)]
    if access.anonymous is not None:
        lines += _topics(access.anonymous, f"{source}: [anonymous]", faults)
    for user in access.users.values():
        where = f"{source}: [[user]] {user.name!r}"
        if user.name != user.name.strip() or not user.name.isprintable():
            faults.append(f"{where}: Mosquitto's files have a user on a line, rename it")
        lines += ["", f"user {user.name}", *_topics(user, where, faults)]
        if user.max_topics:
            lines.append(f"# Mosquitto has no word for max_topics = {user.max_topics} of this user.")
    if faults:
        raise InputError(faults)
    return "\n".join(lines) + "\n"


def _topics(user: User, where: str, faults: list[str]) -> Iterator[str]:
    both = [text for text in user.publish if text in user.subscribe]
    for word, texts in (
        ("readwrite", both),
        ("write", [text for text in user.publish if text not in both]),
        ("read", [text for text in user.subscribe if text not in both]),
    ):
        for text in texts:
            if "%c" in text:
                faults.append(f"{where}: {text!r} names the client identifier, which Mosquitto cannot ask of one user")
            elif "%u" in text and (not user.name or any(mark in user.name for mark in "+#/")):
                continue  # nobody is meant: such a name is no single topic level
            elif not text.isprintable() or text != text.strip():
                faults.append(f"{where}: {text!r} cannot stand on a line of Mosquitto's file")
            else:
                yield f"topic {word} {text.replace('%u', user.name)}"
