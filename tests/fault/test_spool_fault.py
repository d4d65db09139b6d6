"""The spool on a disk that is full, and one that was damaged: nothing acknowledged is lost, and nothing stops."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ingest.postgres import EmbeddedPostgres
from ingest.segment import HEAD, MAGIC, Record
from ingest.spool import Spool, SpoolFull


@pytest.mark.slow
def test_a_spool_whose_disk_is_full_holds_the_publishers_back(
    broker: Any,
    server: EmbeddedPostgres,
    worker_of: Any,
    flow_to: Any,
    small_disk: Any,
    tmp_path: Path,
    settled: Any,
    until: Any,
) -> None:
    state = tmp_path / "state"
    small_disk(state / "spool", "size=64k")
    worker = worker_of(broker.url, server.url, state=state)
    worker.start()
    flow = flow_to(broker.url)
    flow.goes_on("at the beginning")
    server.stop()
    until(lambda: "takes no more (No space left on device)" in worker.said, "a full disk")
    time.sleep(0.5)  # PUBACKs of what still had room are on their way
    before = flow.acknowledged
    time.sleep(1.0)
    assert flow.acknowledged == before, "what is nowhere on a disk must not be acknowledged"
    server.start()
    flow.recovers(worker)
    settled(flow, worker, server.url)


def test_a_disk_that_becomes_full_within_a_record_leaves_no_part_of_it(small_disk: Any, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    small_disk(place, "size=128k")
    with Spool(place / "s") as spool:
        spool.append([Record("city/D1", b"before", True)])
        (place / "ballast").write_bytes(bytes(100_000))
        with pytest.raises(SpoolFull, match="No space left on device"):
            spool.append([Record("city/D2", bytes(60_000), True)])
        (place / "ballast").unlink()
        spool.append([Record("city/D3", b"after", True)])
        taken = spool.take(10)
        spool.done(len(taken))
        assert [(record.topic, record.payload) for record in taken] == [("city/D1", b"before"), ("city/D3", b"after")]
        assert not spool
        assert spool.bad_bytes == 0


def test_a_worker_starts_on_a_spool_full_of_rubbish_and_saves_what_is_sound(
    broker: Any, server: EmbeddedPostgres, worker_of: Any, flow_to: Any, tmp_path: Path, stored: Any, until: Any
) -> None:
    state = tmp_path / "state"
    with Spool(state / "spool" / "citytwin-ingest-dead") as dead:
        dead.append([Record("city/test/left", b'{"t": %d, "speed_kmh": 7}' % (time.time() * 1000), True)])
        sound = next(dead.folder.glob("*.spool")).read_bytes()
    folder = state / "spool" / "citytwin-ingest-dead"
    (folder / "00000002.spool").write_bytes(os.urandom(50_000))
    (folder / "00000003.spool").write_bytes(b"")
    (folder / "00000004.spool").write_bytes(bytes(10_000))
    (folder / "rubbish.spool").write_bytes(MAGIC * 300_000)  # a beginning of a record everywhere
    (folder / "00000006.spool").mkdir()
    (folder / "00000007.spool").write_bytes(sound[: len(sound) - 3])
    worker = worker_of(broker.url, server.url, state=state)
    worker.start()
    flow = flow_to(broker.url)
    flow.goes_on("beside the rubbish", within_s=20)
    until(lambda: stored(server.url, "left"), "the one sound record", 20)
    until(lambda: "damaged" in worker.said, "a word about the damage")
    published = flow.finish()
    assert stored(server.url, "flow") == published
    until(lambda: worker.counts()["in flight"] == 0, "agreeing counts")
    assert worker.ready()
    assert "Traceback" not in worker.said


def test_a_segment_that_looks_like_a_record_everywhere_is_read_once_for_each_and_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "00000001.spool").write_bytes(HEAD.pack(MAGIC, 40, 1, 3) * 20_000)
    read, pread = 0, os.pread

    def counting(descriptor: int, n: int, at: int) -> bytes:
        nonlocal read
        data = pread(descriptor, n, at)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting)
    with Spool(folder) as spool:
        assert spool.take(10) == []
        assert spool.bad_bytes == 20_000 * HEAD.size
    # Head and body of each place; the file once more to look through it and once to set it aside.
    assert read < 20_000 * (HEAD.size + 40) + 3 * 20_000 * HEAD.size
    assert len(caplog.records) == 1
