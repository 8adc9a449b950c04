"""Every recipe of the page on survey columns recovers the input shear from a simulated table with these names."""

import re
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap.maps.n_z import mean_redshift

from helpers.skies import tan_wcs

PAGE = Path(__file__).resolve().parents[2] / "docs/your_surveys_columns.rst"
SHEAR = 0.04 - 0.03j  # x to the West, y to the North
GRID = tan_wcs((2, 2), scale=12.0)  # four pixels; the shear has opposite signs in the lower and upper two
N = 300  # galaxies, each in every pixel with both signs of the intrinsic ellipticity


def recipe(section):
    """Return the code of a section of the page."""
    text = PAGE.read_text(encoding="utf-8")
    (body,) = re.findall(rf"^{section}\n=+\n(.*?)(?=^\.\. _|^HEALPix codes)", text, flags=re.MULTILINE | re.DOTALL)
    (code,) = re.findall(r"^\.\. code-block:: python\n\n((?: {4}.*\n|\n)+)", body, flags=re.MULTILINE)
    return re.sub(r"^ {4}", "", code, flags=re.MULTILINE)


def run(section, name="catalog"):
    """Return the catalogue, or another variable, that the recipe makes from the files in the folder."""
    names = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ra and dec have no unit")
        exec(compile(recipe(section), section, "exec"), names)
    return names[name]


class Galaxies:
    """Random galaxies, the same in each of the four pixels, so that sums over pixels are exact."""

    def __init__(self, seed=0):
        self.rng = rng = np.random.default_rng(seed)
        x, y = rng.uniform(-0.49, 0.49, (2, N))
        copies = [(i, j, sign) for i in (0, 1) for j in (0, 1) for sign in (-1, 1)]
        coords = [GRID.pixel_to_world(x + j, y + i) for i, j, _ in copies]
        self.ra, self.dec = (np.concatenate([getattr(c, k).deg for c in coords]) for k in ("ra", "dec"))
        self.shear = np.concatenate([np.full(N, SHEAR if i else -SHEAR) for i, _, _ in copies])
        e = 0.25 * (rng.normal(size=N) + 1j * rng.normal(size=N))
        self.intrinsic = np.concatenate([sign * e for _, _, sign in copies])
        self.weight = self.each(rng.uniform(0.5, 2, N))

    def each(self, values):
        """Repeat values of the galaxies for every copy."""
        return np.tile(values, 8)


def check(catalog, *, rtol=2e-3):
    """Compare the shear in the four pixels, and its noise, with the input."""
    shear = catalog.to_map(wcs=GRID)
    found = shear.data[0] + 1j * shear.data[1]
    assert np.allclose(found, [[-SHEAR] * 2, [SHEAR] * 2], rtol=0, atol=abs(SHEAR) * rtol), found
    # the scatter of the calibrated estimates, not of the ellipticities
    m = 0 if catalog.m_bias is None else np.mean(catalog.m_bias)
    n_eff = shear.meta["n_galaxies"] / 4 * np.mean(catalog.weight) ** 2 / np.mean(catalog.weight**2)
    assert np.allclose(shear.noise_std, catalog.shape_noise / np.sqrt(n_eff) / (1 + m), rtol=0.01)
    assert abs(catalog.shape_noise / 0.253 - 1) < 0.1


def distortions(prefix, names):
    """Table of HSC, with distortions about twice as large as the shear."""
    g = Galaxies()
    rms = g.each(g.rng.uniform(0.34, 0.42, N))
    m, c = g.each(g.rng.uniform(-0.15, 0.05, N)), g.each(g.rng.normal(0.01, 0.005, (2, N)))
    responsivity = 1 - np.average(rms**2, weights=g.weight)
    # north-east of the sky, x along increasing right ascension: the sign of e2 is opposite
    e = 2 * responsivity * (g.intrinsic + (1 + m) * g.shear.conj() + c[0] + 1j * c[1])
    columns = {"e1": e.real, "e2": e.imag, names["weight"]: g.weight, "derived_rms_e": rms}
    columns |= {"derived_shear_bias_m": m, "derived_shear_bias_c1": c[0], "derived_shear_bias_c2": c[1]}
    table = Table({prefix + name: column for name, column in columns.items()})
    table[names["ra"]], table[names["dec"]] = g.ra, g.dec
    return table


def test_hsc_y1():
    names = {"ra": "ira", "dec": "idec", "weight": "derived_shape_weight"}
    distortions("ishape_hsm_regauss_", names).write("hsc_y1.fits")
    check(run("HSC Y1"))


def test_hsc_y3():
    table = distortions("i_hsmshaperegauss_", {"ra": "i_ra", "dec": "i_dec", "weight": "derived_weight"})
    bad = table.copy()
    bad["i_hsmshaperegauss_e1"] = 1.0
    table["b_mode_mask"], bad["b_mode_mask"] = 1, 0
    rows = Table({name: np.concatenate([table[name], bad[name]]) for name in table.colnames})
    rows.write("hsc_y3.fits")
    check(run("HSC Y3"))


def test_distortions_without_calibration_raise_a_warning():
    distortions("ishape_hsm_regauss_", {"ra": "ira", "dec": "idec", "weight": "derived_shape_weight"}).write(
        "hsc_y1.fits"
    )
    code = re.sub(r'^    "rms_e".*\n', "", recipe("HSC Y1"), flags=re.MULTILINE)
    names = {}
    with pytest.warns(AstropyUserWarning, match="seems to be a distortion"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ra and dec have no unit")
        exec(code, names)
    found = names["catalog"].to_map(wcs=GRID).data
    assert found[0, 1, 1] > 1.5 * SHEAR.real


def metacal(g):
    """Ellipticities with noisy matrices of response; the mean of R is that of the sample."""
    matrices = np.array([[0.7, 0.02], [-0.01, 0.65]]) + 0.6 * g.rng.normal(size=(N, 2, 2))
    matrices = np.tile(matrices, (8, 1, 1))
    mean = np.average(matrices, axis=0, weights=g.weight)
    return matrices, mean


def applied(matrices, e):
    pairs = np.stack([e.real, e.imag], axis=-1)
    return (matrices @ pairs[..., None])[..., 0].T


def des_y3_bin(key, m):
    """Return columns of a bin, its selections, and the galaxies that belong to the unsheared one."""
    g = Galaxies(key)
    matrices, mean = metacal(g)
    extra = 4
    step, d = ("1p", "1m", "2p", "2m"), np.array([0.5, -0.5, 0.4j, -0.4j]) * (1 + key / 4)
    # each sheared selection has one more galaxy, whose weighted ellipticity gives the response
    weight = np.array([3.0, 3.0, 5.0, 5.0])
    total = g.weight.sum()
    of_selection = [2 * abs(d[i]) * weight[i] / (total + weight[i]) / 0.02 for i in (0, 2)]
    signal = applied(matrices + np.diag(of_selection), (1 + m) * g.shear)
    e1, e2 = signal + applied(mean + np.diag(of_selection), g.intrinsic)
    assert min(of_selection) > 0.03  # large enough to be detected if missing
    columns = {"ra": np.append(g.ra, np.full(extra, 150.0)), "dec": np.append(g.dec, np.full(extra, 2.2))}
    columns |= {
        "e_1": np.append(e1, d.real) + 0.003 * (1 + key),
        "e_2": np.append(e2, d.imag) - 0.002,
    }  # includes a mean over the survey
    columns |= {name: np.append(matrices[:, i, j], np.zeros(extra)) for name, (i, j) in
                {"R11": (0, 0), "R12": (0, 1), "R21": (1, 0), "R22": (1, 1)}.items()}  # fmt: skip
    columns["weight"] = np.append(g.weight, weight)
    columns["bhat"] = np.full(len(g.ra) + extra, key)
    columns["select"] = np.append(np.ones(len(g.ra), bool), np.zeros(extra, bool))
    for i, s in enumerate(step):
        columns[f"select_{s}"] = np.append(np.ones(len(g.ra), bool), np.arange(extra) == i)
    return columns


def test_des_y3():
    h5py = pytest.importorskip("h5py")
    step = ("1p", "1m", "2p", "2m")
    parts = [des_y3_bin(key, m) for key, m in enumerate((-0.0063, -0.0198, -0.0241, -0.0369))]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    shuffled = np.random.default_rng(1).permutation(len(columns["ra"]))
    columns = {name: column[shuffled] for name, column in columns.items()}
    bins = columns.pop("bhat")
    selections = {name: columns.pop(name) for name in ("select", *(f"select_{s}" for s in step))}
    with h5py.File("DESY3_metacal_v03-004.h5", "w") as file:
        for name, column in columns.items():
            file[f"catalog/unsheared/{name}"] = column
        for s in step:
            file[f"catalog/sheared_{s}/weight"] = columns["weight"]
    with h5py.File("DESY3_sompz_v0.50.h5", "w") as file:
        for s in ("unsheared", *(f"sheared_{s}" for s in step)):
            file[f"catalog/sompz/{s}/bhat"] = bins
    with h5py.File("DESY3_indexcat.h5", "w") as file:
        for name, selected in selections.items():
            file[f"index/{name}"] = np.flatnonzero(selected)
    z = np.linspace(0, 2, 101)
    n = {f"bin{key}": np.exp(-0.5 * ((z - 0.2 - 0.2 * key) / 0.1) ** 2) for key in (1, 2, 3, 4)}
    Table({"z": z, **n}).write("desy3_nz.fits")
    found = run("DES Y3", "bins")
    assert list(found) == [1, 2, 3, 4, "all"] and len(found["all"]) == 4 * len(found[1]) == 32 * N
    for key in (1, 2, 3, 4):
        check(found[key])
        assert mean_redshift(found[key].n_z) == pytest.approx(0.2 + 0.2 * key, abs=0.01)


def test_des_y6():
    h5py = pytest.importorskip("h5py")
    g = Galaxies()
    matrix = np.array([[0.8, 0.01], [0.03, 0.75]])
    e = applied(matrix, g.intrinsic + g.shear)
    with h5py.File("desy6kp_cats.hdf5", "w") as file:
        for s, applied_shear in {"noshear": 0, "1p": 0.01, "1m": -0.01, "2p": 0.01j, "2m": -0.01j}.items():
            group = file.create_group(f"desy6kp/mdet/{s}/tomo_bin_3")
            more = applied(matrix, np.array([applied_shear]))
            keep = slice(None) if s == "noshear" else slice(None, None, -1)  # another order, as detected independently
            group["gauss_g_1"], group["gauss_g_2"] = (e + more)[:, keep]
            group["ra"], group["dec"], group["w"] = g.ra[keep], g.dec[keep], g.weight[keep]
    check(run("DES Y6"))


def test_decade():
    g = Galaxies()
    matrices, mean = metacal(g)
    e1, e2 = applied(matrices, g.shear) + applied(mean, g.intrinsic)
    table = Table(
        {"RA": g.ra, "DEC": g.dec, "MCAL_G_1_NOSHEAR": e1, "MCAL_G_2_NOSHEAR": e2, "MCAL_W_NOSHEAR": g.weight}
    )
    for i in (1, 2):
        for j in (1, 2):
            table[f"R_{i}{j}"] = matrices[:, i - 1, j - 1]
    table.write("decade.fits")
    check(run("DECADE"))


def test_unused_responses_raise_a_warning():
    test_decade()
    code = re.sub(r'^    "R\d\d".*\n', "", recipe("DECADE"), flags=re.MULTILINE)
    with pytest.warns(AstropyUserWarning, match="the response in 'R_11' is not used"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ra and dec have no unit")
        exec(code, {})


def test_kids_1000():
    g = Galaxies()
    z = g.each(g.rng.uniform(0.11, 1.19, N))
    bins = np.select([z <= 0.3, z <= 0.5, z <= 0.7, z <= 0.9], [0, 1, 2, 3], 4)
    m, c = np.array([-0.009, -0.011, -0.015, 0.002, 0.007])[bins], 1e-3 * np.array([1, -2, 3, -4, 5])[bins]
    e = g.intrinsic + (1 + m) * g.shear + c - 2j * c
    table = Table({"RAJ2000": g.ra, "DECJ2000": g.dec, "e1": e.real, "e2": e.imag, "weight": g.weight, "Z_B": z})
    table.add_row({"RAJ2000": 150.0, "DECJ2000": 2.2, "e1": 0.9, "e2": 0.9, "weight": 1.0, "Z_B": 2.0})
    table["ALPHA_J2000"], table["DELTA_J2000"] = table["RAJ2000"], table["DECJ2000"]
    table["RAJ2000"].unit = table["DECJ2000"].unit = u.deg
    table.write("KiDS_DR4.1_ugriZYJHKs_SOM_gold_WL_cat.fits")
    catalog = run("KiDS-1000")
    assert len(catalog) == len(table) - 1
    check(catalog)
    assert np.allclose(catalog.redshift, z)


def test_cfhtlens():
    g = Galaxies()
    m, c2 = g.each(g.rng.uniform(-0.1, 0, N)), g.each(g.rng.uniform(0, 0.005, N))
    e = g.intrinsic + (1 + m) * g.shear + 1j * c2
    table = Table({"ALPHA_J2000": g.ra, "DELTA_J2000": g.dec, "e1": e.real, "e2": e.imag, "weight": g.weight})
    table["m"], table["c2"], table["Z_B"] = m, c2, 0.7
    table.write("cfhtlens.fits")
    check(run("CFHTLenS"))


def test_euclid(capsys):
    g = Galaxies()
    e = g.intrinsic + g.shear
    Table({"RIGHT_ASCENSION": g.ra, "DECLINATION": g.dec, "G1": e.real, "G2": e.imag, "WEIGHT": g.weight}).write(
        "euclid.fits"
    )
    check(run("Euclid"))
    assert "axes 'west-north'" in capsys.readouterr().out


def test_every_recipe_is_tested():
    text = PAGE.read_text(encoding="utf-8")
    sections = re.findall(r"^\.\. _(.*):\n", text, flags=re.MULTILINE)
    tested = re.findall(r'run\("([^"]*)"', Path(__file__).read_text(encoding="utf-8"))
    assert sorted(sections) == sorted(tested)
    assert text.count(".. code-block:: python") == len(sections)
