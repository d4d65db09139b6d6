"""The spool: what it has taken is on the disk, comes out once, and damage costs no other record."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.segment import Record
from ingest.spool import SEGMENT_BYTES, Spool, SpoolFull
from ingest.spools import Spools
from sensors import WorkError


def records(n: int, *, size: int = 20, start: int = 0) -> list[Record]:
    return [Record(f"city/centre/D{k}", str(k).encode().rjust(size, b"."), True) for k in range(start, start + n)]


def emptied(spool: Spool) -> list[Record]:
    found = []
    while taken := spool.take(7):
        found += taken
        spool.done(len(taken))
    return found


def content(taken: list[Record]) -> list[tuple[str, bytes]]:
    return [(record.topic, record.payload) for record in taken]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def test_messages_come_out_in_order_once_and_the_disk_is_free_again(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        assert not spool
        spool.append(records(10))
        spool.append(records(10, start=10))
        assert content(emptied(spool)) == content(records(20))
        assert not spool
        assert (spool.size_bytes, segments(tmp_path / "s")) == (0, [])
        spool.append(records(3))
        assert len(emptied(spool)) == 3


def test_what_was_not_done_with_is_there_after_a_crash_and_is_no_longer_its_own(tmp_path: Path) -> None:
    killed = (
        "import os, sys; from pathlib import Path; from ingest.segment import Record; from ingest.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1])); spool.append([Record(*eval(line), True) for line in sys.stdin])\n"
        "spool.take(5); spool.done(2); os._exit(9)"
    )
    lines = "".join(f"{record[:2]!r}\n" for record in records(10))
    done = subprocess.run([sys.executable, "-c", killed, tmp_path / "s"], input=lines, text=True, check=False)
    assert done.returncode == 9
    with Spool(tmp_path / "s") as second:
        taken = emptied(second)
    assert content(taken) == content(records(10)), "two of them come twice; the store knows them"
    assert not any(record.own for record in taken)


def test_what_was_taken_and_could_not_be_committed_comes_again(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append(records(6))
        assert content(spool.take(4)) == content(records(4))
        spool.done(1)
        spool.again()
        assert content(emptied(spool)) == content(records(5, start=1))


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with Spool(tmp_path / "s"), pytest.raises(WorkError, match="in use by another process"):
        Spool(tmp_path / "s")


@pytest.mark.parametrize("cut", [1, 5, 17, 30])
def test_a_torn_last_record_is_cut_and_counts_as_no_damage(tmp_path: Path, cut: int) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append(records(5))
    (path,) = segments(tmp_path / "s")
    os.truncate(path, path.stat().st_size - cut)
    with Spool(tmp_path / "s") as spool:
        assert content(emptied(spool)) == content(records(4))
        assert spool.bad_bytes == 0
        assert not segments(tmp_path / "s")


@given(place=st.integers(0, 5 * 50 - 1), bit=st.integers(0, 7))
def test_one_wrong_bit_costs_one_record_which_is_set_aside(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("spool") / "s"
    with Spool(folder) as spool:
        spool.append(records(5))
    (path,) = segments(folder)
    raw = bytearray(path.read_bytes())
    place = min(place, len(raw) - 1)
    raw[place] ^= 1 << bit
    path.write_bytes(raw)
    with Spool(folder) as spool:
        found = content(emptied(spool))
        lost = [record for record in content(records(5)) if record not in found]
        assert len(found) == 4
        assert len(lost) == 1
        # A wrong length in the last record cannot be told from a torn one.
        assert spool.bad_bytes > 0 or lost == content(records(5))[-1:]
        assert not segments(folder)
    if spool.bad_bytes:
        assert path.with_suffix(".bad").stat().st_size == spool.bad_bytes


def test_a_full_spool_takes_nothing_of_a_batch_and_goes_on_when_it_has_room(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", limit_bytes=2000) as spool:
        spool.append(records(30))
        with pytest.raises(SpoolFull, match="is full"):
            spool.append(records(30, start=30))
        assert content(emptied(spool)) == content(records(30))
        spool.append(records(30, start=30))
        assert len(emptied(spool)) == 30


def test_a_full_disk_leaves_no_half_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Spool(tmp_path / "s") as spool:
        spool.append(records(2))
        with monkeypatch.context() as patch:
            patch.setattr("ingest.spool._sync", no_space)
            with pytest.raises(SpoolFull, match="No space left on device"):
                spool.append(records(2000, start=2))
        spool.append(records(1, start=5000))
        assert content(emptied(spool)) == content([*records(2), *records(1, start=5000)])


def test_segments_are_bounded_and_deleted_one_by_one(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        for k in range(5):
            spool.append(records(4, size=SEGMENT_BYTES // 8, start=4 * k))
        assert len(segments(tmp_path / "s")) >= 2
        first = spool.take(1000)
        spool.done(len(first))
        assert len(segments(tmp_path / "s")) < 5
        assert len(first) + len(emptied(spool)) == 20


def test_the_spool_of_a_dead_worker_is_emptied_by_another_and_goes(tmp_path: Path) -> None:
    with Spool(tmp_path / "dead") as dead:
        dead.append(records(5))
    with Spools(tmp_path, "alive") as spools:
        spools.append(records(2, start=100))
        own = spools.waiting()
        assert own is not None
        assert len(emptied(own)) == 2
        left = spools.waiting()
        assert left is not None
        assert content(emptied(left)) == content(records(5))
        assert spools.waiting() is None
        assert not (tmp_path / "dead").exists()


def test_the_spool_of_a_living_worker_is_left_alone(tmp_path: Path) -> None:
    with Spool(tmp_path / "other") as other, Spools(tmp_path, "alive") as spools:
        other.append(records(5))
        assert spools.waiting() is None
        assert len(emptied(other)) == 5


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match=r"cannot be written \(Not a directory\): set CITYTWIN_STATE"):
        Spool(tmp_path / "file" / "s")


def test_any_topic_and_payload_come_out_as_they_went_in(tmp_path: Path) -> None:
    odd: list[Any] = [
        Record("", b"", True),
        Record("城市/河", bytes(range(256)), True),
        Record("x" * 65_535, b"CTSP" * 1000, True),
    ]
    with Spool(tmp_path / "s") as spool:
        spool.append(odd)
        assert content(emptied(spool)) == content(odd)
