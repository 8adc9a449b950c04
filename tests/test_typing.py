"""Type annotations of the public interface."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from importlib import import_module, resources
from pathlib import Path
from typing import get_args

import pytest

import astro_massmap
from astro_massmap import AnnealedHMC
from astro_massmap._utils import typing as types
from astro_massmap.maps.axes import AXES
from astro_massmap.methods import Estimate

ROOT = Path(__file__).parents[1]
FACE = [getattr(astro_massmap, name) for name in astro_massmap.__all__ if name != "__version__"]
# modules whose public names are all checked
MODULES = ("analysis.angular_power", "analysis.detection", "analysis.mass", "analysis.peaks", "datasets", "validation")
MODULES += (
    "analysis.halo_mass",
    "analysis.offsets",
    "analysis.position_regions",
    "analysis.positions",
    "analysis.probability",
    "validation.completeness",
    "validation.diagnostics",
    "validation.null_tests",
)
OPERATORS = ("__init__", "__call__", "__getitem__", "__len__")


def public_of(module):
    module = import_module(f"astro_massmap.{module}")
    return [getattr(module, name) for name in module.__all__]


def functions_of(kind):
    """Public functions of a class by name: methods, properties and some operators."""
    for base in kind.__mro__:
        if not base.__module__.startswith("astro_massmap"):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") and name not in OPERATORS:
                continue
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if inspect.isfunction(function):
                yield f"{base.__name__}.{name}", function, not isinstance(member, staticmethod)


def untyped(thing):
    """Parameters and results without a type, of a function or of the public members of a class."""
    found = functions_of(thing) if inspect.isclass(thing) else [(thing.__name__, thing, False)]
    for name, function, bound in found:
        signature = inspect.signature(function)
        for parameter in list(signature.parameters.values())[bound:]:
            if parameter.annotation is inspect.Parameter.empty:
                yield f"{name}({parameter.name})"
        if signature.return_annotation is inspect.Signature.empty:
            yield f"{name} -> ?"


def test_public_names_have_types():
    checked = [*FACE, Estimate, *(thing for module in MODULES for thing in public_of(module))]
    assert [gap for thing in checked for gap in untyped(thing)] == []


def test_missing_types_are_found():
    class Half:
        def __init__(self, a, b: int) -> None: ...

        @property
        def c(self): ...

        @classmethod
        def d(cls, *args) -> int: ...

    Half.__module__ = "astro_massmap"
    assert list(untyped(Half)) == ["Half.__init__(a)", "Half.c -> ?", "Half.d(args)"]


def test_type_checkers_find_names_that_are_imported_on_first_use():
    assert (resources.files("astro_massmap") / "py.typed").is_file()
    tree = ast.parse(Path(astro_massmap.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {name.name: node.module for node in block.body for name in node.names}
    assert seen == astro_massmap._HOMES
    assert {*seen, "__version__"} == {*astro_massmap.__all__}


def test_literals_are_the_accepted_values():
    assert get_args(types.Axes) == tuple(AXES)
    (schedule,) = (field.type for field in dataclasses.fields(AnnealedHMC) if field.name == "schedule")
    assert set(get_args(get_args(schedule)[1])) == {*AnnealedHMC.SCHEDULES}


USER = """
from typing import assert_type

import astropy.units as u
import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray

import astro_massmap
from astro_massmap import AnnealedHMC, ConvergenceMap, GaussianPrior, ScorePrior, ShearCatalog, ShearMap, Wiener
from astro_massmap.inference import Observation
from astro_massmap.methods import Estimate


class Mine:
    def solve(self, observation: Observation, *, progress: bool = False) -> Estimate:
        raise NotImplementedError


def use(catalog: ShearCatalog) -> None:
    assert_type(catalog.to_map(pixel_scale=1 * u.arcmin), ShearMap)
    assert_type(catalog[:10], ShearCatalog)
    kappa = catalog.reconstruct("wiener", n_samples=4)
    assert_type(kappa, ConvergenceMap)
    assert_type(kappa.data, NDArray[np.floating])
    assert_type(kappa.mask, NDArray[np.bool_])
    assert_type(kappa.samples, NDArray[np.floating] | None)
    assert_type(kappa.b_mode, ConvergenceMap | None)
    assert_type(kappa.shape, tuple[int, int])
    assert_type(kappa.pixel_scale, u.Quantity)
    assert_type(kappa.peaks(0.02, smoothing=1 * u.arcmin), QTable)
    assert_type(kappa[10:20, 5:25], ConvergenceMap)
    assert_type(ConvergenceMap.read("kappa.fits"), ConvergenceMap)
    for method in (Wiener(n_samples=0), AnnealedHMC(GaussianPrior()), AnnealedHMC(ScorePrior.load()), Mine()):
        catalog.reconstruct(method)
    for done in astro_massmap.reconstruct_fields([catalog, kappa]):
        assert_type(done, ConvergenceMap)
    kappa.samples.mean()  # ERROR union-attr
    catalog.reconstruct(3)  # ERROR arg-type
    catalog.reconstruct(shape=128)  # ERROR arg-type
    ShearCatalog(catalog.coords, catalog.g1, catalog.g2, axes="north")  # ERROR arg-type
    ShearCatalog.read("cosmos.fits")  # ERROR call-arg
    AnnealedHMC(schedule="quick")  # ERROR arg-type
    astro_massmap.DarkEnergyMap  # ERROR attr-defined
"""


@pytest.mark.slow
def test_types_of_user_code(tmp_path):
    """Declared types are correct and mistakes are found, both by mypy with the settings of the package."""
    pytest.importorskip("mypy")
    file = tmp_path / "user.py"
    file.write_text(USER, encoding="utf-8")
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *settings, str(file)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = dict(re.findall(r"user\.py:(\d+): error: .*\[([\w-]+)\]", result.stdout))
    marked = (line.partition("# ERROR ")[2] for line in USER.splitlines())
    assert found == {str(i): code for i, code in enumerate(marked, 1) if code}, result.stdout + result.stderr
