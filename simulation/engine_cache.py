"""Compiled kernels on disk: forgotten when any of their sources has changed.

Numba keeps a compiled function as long as its own file stays the same, but the kernels take in functions of other
files: without this an update could run old physics.
"""

import functools
import hashlib
from pathlib import Path
from typing import Any

STAMP = "kernels.sha256"


@functools.cache
def forget_stale_kernels(kernel: Any) -> bool:
    """Delete, once in a process, the kernels on disk if they were made from other sources; return whether they were.

    Parameters
    ----------
    kernel
        Any compiled function of this package; the others are kept beside it. Nothing is done where the folder cannot
        be written.
    """
    texts = [source.read_bytes() for source in sorted(Path(__file__).parent.glob("*.py"))]
    kernels = [text for text in texts if b"numba" in text or b"engine_kernel" in text]
    digest = hashlib.sha256(b"".join(kernels)).hexdigest()
    folder = Path(kernel.stats.cache_path)
    stamp = folder / STAMP
    try:
        if stamp.is_file() and stamp.read_text("utf-8") == digest:
            return False
        folder.mkdir(parents=True, exist_ok=True)
        for file in [*folder.glob("*.nbi"), *folder.glob("*.nbc")]:
            file.unlink(missing_ok=True)
        stamp.write_text(digest, "utf-8")
    except OSError:
        return False
    return True
