"""The smallest build backend (PEP 517): the package's modules and its metadata, zipped as a wheel."""

import tomllib
import zipfile
from pathlib import Path


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    package, version = project["name"].replace("-", "_"), project["version"]
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    files = {str(path): path.read_text() for path in sorted(Path(package).glob("*.py"))}
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    files |= {
        f"{package}-{version}.dist-info/METADATA": metadata,
        f"{package}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{package}-{version}.dist-info/entry_points.txt": points,
    }
    name = f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
        record = "".join(f"{path},,\n" for path in [*files, f"{package}-{version}.dist-info/RECORD"])
        wheel.writestr(f"{package}-{version}.dist-info/RECORD", record)
    return name
