"""Compiled kernels are forgotten when their sources change: numba itself looks at one file only."""

from types import SimpleNamespace

from simulation.engine_cache import STAMP, forget_stale_kernels


class Kernel:
    def __init__(self, folder):
        self.stats = SimpleNamespace(cache_path=str(folder))


def test_kernels_of_other_sources_are_forgotten_and_those_of_the_same_are_kept(tmp_path):
    for name in ("engine.run.nbi", "engine.run.1.nbc", "engine.pyc"):
        (tmp_path / name).write_bytes(b"old")
    (tmp_path / STAMP).write_text("another", "utf-8")
    assert forget_stale_kernels(Kernel(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"engine.pyc", STAMP}
    (tmp_path / "engine.run.nbi").write_bytes(b"new")
    assert not forget_stale_kernels(Kernel(tmp_path))
    assert (tmp_path / "engine.run.nbi").exists()


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path):
    folder = tmp_path / "a file"
    folder.write_bytes(b"")
    assert not forget_stale_kernels(Kernel(folder))
