"""Packages are the top-level folders; a wheel also carries ``config/`` and the built cockpit."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfig(build_py):
    """Copies ``config/`` to where an installed hub looks for it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree(ROOT / "config", Path(self.build_lib) / "hub" / "config", dirs_exist_ok=True)


setup(
    packages=find_packages(include=["sensors*", "ingest*", "twin*", "simulation*", "hub*"], exclude=["hub.web*"]),
    py_modules=["citytwin"],
    # With this mapping an editable install is a plain path, which type checkers follow.
    package_dir={"": "."},
    package_data={
        "": ["py.typed"],
        "ingest": ["schema/*.sql"],
        "twin.importers": ["maps/*.toml", "detector_maps/*.toml"],
        "hub": ["static/*", "static/**/*"],
    },
    cmdclass={"build_py": BuildWithConfig},
)
