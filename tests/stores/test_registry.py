"""What other packages register: found by name, refused with one line each where it can't be used."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lab.base import TRUTH, BadInput
from lab.measure.machine import versions
from lab.registry import Registry
from lab.report.style import NEUTRAL, store_colour
from lab.stores import STORES, StoreSpec, store_class
from lab.stores.spec import problem

Install = Callable[[str, str, str], None]
KNOWN = {"own": StoreSpec("own", "nowhere:Own", "reference", "none")}
GOOD = "from lab.stores import StoreSpec\nSPEC = StoreSpec('{}', 'no_such_driver:Store', 'toy', 'none')\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with one module and one entry point on the path, as an installer would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def one(package: str, entry: str, source: str) -> None:
        (tmp_path / f"{package}.py").write_text(source)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lab.toys]\n{entry} = {package}:SPEC\n")

    return one


def toys() -> Registry[StoreSpec]:
    return Registry("lab.toys", KNOWN, problem)


def test_a_registered_name_is_found_behind_the_shipped_ones(install: Install) -> None:
    install("good_toy", "acme.toy", GOOD.format("acme.toy"))
    found = toys()
    assert list(found) == ["own", "acme.toy"]
    assert found["acme.toy"].family == "toy"
    assert (found.package("own"), found.package("acme.toy")) == ("polyglot-lab", "good_toy 1.0")
    assert found.broken == {}


def test_a_name_that_is_taken_is_refused_and_both_packages_are_named(install: Install) -> None:
    install("usurper", "own", GOOD.format("own"))
    install("one_twin", "twin", GOOD.format("twin"))
    install("other_twin", "twin", GOOD.format("twin"))
    found = toys()
    assert list(found) == ["own"]
    assert found["own"].family == "reference"
    assert "polyglot-lab and by usurper 1.0" in found.broken["own"]
    assert "one_twin 1.0 and by other_twin 1.0" in found.broken["twin"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import no_such_thing_anywhere", "No module named 'no_such_thing_anywhere'"),
        ("raise SystemError('two\\nlines')", "SystemError: two lines"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise ValueError('\\x1b[31m' + chr(0x202e))", "ValueError: \\x1b[31m\\u202e"),
        ("OTHER = 1", "has no attribute 'SPEC'"),
        ("SPEC = 'acme.toy'", "is no lab.stores.StoreSpec but str"),
        (GOOD.format("acme.other"), "is called `acme.other` and registered as `acme.toy`"),
        ("SPEC = (", "SyntaxError"),
    ],
)
def test_a_package_that_is_broken_costs_one_line_and_nothing_else(source: str, why: str, install: Install) -> None:
    name = f"broken_toy_{zlib.crc32(why.encode())}"
    install(name, "acme.toy", source)
    found = toys()
    assert list(found) == ["own"]
    line = found.broken["acme.toy"]
    assert why in line
    assert f"{name} 1.0" in line
    assert "\n" not in line
    assert why in str(found.unknown("acme.toy", "here"))


def test_a_store_whose_module_fails_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "failing_store.py").write_text("raise OSError('no library\\nhere')")
    with pytest.raises(BadInput, match=r"^toy: failing_store:Store can't be imported: OSError: no library here$"):
        StoreSpec("toy", "failing_store:Store", "toy", "none").load()


def test_every_spec_names_its_class_and_nothing_twice() -> None:
    for name, spec in STORES.items():
        assert spec.name == name == store_class(name).name
    assert len({spec.path for spec in STORES.values()}) == len(STORES)


def test_a_run_records_the_version_of_every_stores_engine() -> None:
    recorded = versions()
    for spec in STORES.values():
        for package in spec.packages:
            assert recorded[package][0].isdigit(), package


# Colours. Machado, Oliveira and Fernandes (2009): what somebody without one kind of cone sees, in linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
TO_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
WHITE = np.array([0.9505, 1.0, 1.0888])
# Two colours this far apart in CIELAB are told apart at a glance, also in thin lines.
APART = 15.0


def lightness_and_hue(colour: str, vision: str) -> np.ndarray:
    """A colour in CIELAB, as it is seen."""
    plain = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(plain <= 0.04045, plain / 12.92, ((plain + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(VISIONS[vision] @ linear, 0, 1) / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISIONS)
def test_no_two_stores_look_alike_whichever_cones_one_has(vision: str) -> None:
    colours = {name: lightness_and_hue(store_colour(name), vision) for name in STORES}
    colours[TRUTH] = lightness_and_hue(NEUTRAL, vision)
    for one, other in itertools.combinations(colours, 2):
        assert np.linalg.norm(colours[one] - colours[other]) >= APART, (one, other)
    assert all(colour[0] <= 86 for colour in colours.values()), "seen on white"


def test_a_store_that_is_not_known_here_has_a_colour_too() -> None:
    assert store_colour("acme.unknown") == store_colour("acme.unknown") != store_colour("sqlite.table")
