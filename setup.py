"""What pyproject.toml cannot say: the wheel carries configs/ as the package nowcast.configs."""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPy(build_py):
    """Adds the YAML files."""

    def finalize_options(self) -> None:
        """As its base."""
        super().finalize_options()
        self.packages = [*self.packages, "nowcast.configs"]
        self.package_dir = {**(self.package_dir or {}), "nowcast.configs": "configs"}


setup(cmdclass={"build_py": BuildPy})
