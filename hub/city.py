"""Which network a hub serves: the one that was asked for, or the generated city of the demo."""

import shutil
import tempfile
from pathlib import Path

from hub.settings import Settings
from sensors import InputError
from twin import Network
from twin.generate import generate


def demo_network(folder: Path | None, made: Path, *, seed: int) -> Network:
    """Return the network of a folder, or the generated city, which is made at the first start and kept.

    Parameters
    ----------
    folder
        What the user asked for, None for the generated city.
    made
        Where generated cities are kept, one a seed.
    """
    if folder is not None:
        return Network.read(folder)
    target = made / f"seed-{seed}"
    if not (target / "link.csv").exists():
        made.mkdir(parents=True, exist_ok=True)
        # Written beside and moved in one step: a start that is killed leaves no half city.
        fresh = Path(tempfile.mkdtemp(dir=made))
        Network.from_tables(generate(seed=seed)).write(fresh / "city")
        shutil.rmtree(target, ignore_errors=True)
        (fresh / "city").rename(target)
        shutil.rmtree(fresh)
    return Network.read(target)


def served_network(folder: Path | None, settings: Settings) -> Network:
    """Return the network that ``citytwin serve`` is asked to serve.

    Raises
    ------
    InputError
        When neither the command line nor ``city.toml`` names one.
    """
    named = folder or settings.city.network
    if named is None:
        raise InputError(
            f'no network: give --network DIR, or set network = "DIR" under [city] in {settings.config / "city.toml"}'
        )
    return Network.read(named)
