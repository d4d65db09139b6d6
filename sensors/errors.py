"""The few exceptions of the project; each message is one sentence that a user can act on."""

from collections.abc import Iterable

from sensors.reading import Reason


class InputError(ValueError):
    """Bad input, with every fault of it at once: what, where (file, line or id, value), what would be right.

    Parameters
    ----------
    faults
        One sentence, or one for each fault.

    Examples
    --------
    >>> InputError(["link.csv: link L1: length is -3, must be > 0"]).faults
    ('link.csv: link L1: length is -3, must be > 0',)
    """

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class WorkError(RuntimeError):
    """Work that failed for a reason outside the input: a port, a disk, a server; one sentence on what to do."""


class PayloadError(ValueError):
    """A payload that cannot become readings, with the named reason under which it is kept."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
