"""Tables of clusters: names, radii and positions as archives write them, and results to be joined."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM, default_cosmology
from astropy.cosmology.units import littleh
from astropy.table import Column, MaskedColumn, QTable, Table, join
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked
from hypothesis import given, settings, strategies as st
from regions import CircleSkyRegion, PointSkyRegion, Regions

from astro_massmap import ConvergenceMap
from astro_massmap._io.result_tables import to_ascii, unique
from astro_massmap._sky.regions import as_regions
from astro_massmap.analysis.detection import detection_probability, region_statistics, region_weights
from astro_massmap.analysis.mass import projected_mass
from astro_massmap.analysis.region_tables import region_names
from astro_massmap.cli import main

from helpers.cases import each_case
from helpers.skies import tan_wcs

GRID, SHAPE = tan_wcs((30, 40)), (30, 40)
PLACES = GRID.pixel_to_world([10, 20, 30], [8, 15, 22])
OPEN = np.zeros(SHAPE, dtype=bool)
COSMOLOGY = FlatLambdaCDM(70, 0.3)


def clusters(**columns):
    return QTable({"ra": PLACES.ra, "dec": PLACES.dec} | columns)


def maps(n=8):
    samples = np.random.default_rng(0).normal(size=(n, *SHAPE))
    return samples.mean(axis=0), samples, GRID, OPEN


# ---- names


@each_case(
    ("columns", "expected"),
    [
        ({"name": ["A", "B", "C"], "id": [7, 8, 9]}, ["A", "B", "C"]),
        ({"NAME": ["A", "B", "C"]}, ["A", "B", "C"]),
        ({"z": [0.1, 0.2, 0.3], "label": ["x", "y", "z"]}, ["x", "y", "z"]),
        ({"redshift": [0.1, 0.1, 0.3]}, ["0", "1", "2"]),
        ({"z": [0.1, 0.1, 0.3], "ID": [30, 9, 11]}, ["30", "9", "11"]),
        ({"id": [3.0, 9.0, np.nan]}, ["3", "9", "2"]),  # of a CSV file with a gap
        ({"Cluster_ID": [3, 9, 11]}, ["3", "9", "11"]),
        ({"source_id": [2**53 + 1, 9, 11]}, ["9007199254740993", "9", "11"]),
        ({"MCXC": ["J0001", "J0002", "J0003"], "OName": ["a", "b", "c"]}, ["J0001", "J0002", "J0003"]),
        ({"MEM_MATCH_ID": [3, 9, 11]}, ["3", "9", "11"]),
        ({"clusterName": ["u", "v", "w"]}, ["u", "v", "w"]),
        ({"valid": [1, 0, 1], "grid": [3, 4, 5]}, ["0", "1", "2"]),  # no identifiers
        ({"cluster": [True, True, False], "id": [3, 9, 11]}, ["3", "9", "11"]),  # flags
        ({"object": [0.2, 0.5, 0.9], "id": [3, 9, 11]}, ["3", "9", "11"]),
        ({"name": ["A", "A", "A (2)"]}, ["A", "A (3)", "A (2)"]),
        ({"name": ["A", "", "2"]}, ["A", "1", "2"]),
        ({"name": MaskedColumn(["A", "B", "C"], mask=[0, 1, 0])}, ["A", "1", "C"]),
        ({"id": MaskedColumn([5, 999999, 7], mask=[0, 1, 0])}, ["5", "1", "7"]),
        ({"name": np.array(["Größe", "b", "c"]).astype("U").astype(object)}, ["Größe", "b", "c"]),
        ({"name": ["Größe".encode(), b"b", b"c"]}, ["Größe", "b", "c"]),
        ({"name": ["Größe".encode("latin-1"), b"b", b"c"]}, ["Größe", "b", "c"]),
    ],
)
def test_regions_have_the_names_in_the_table(columns, expected):
    table = region_statistics(*maps(), clusters(radius=[2, 2, 2] * u.arcmin, **columns))
    assert list(table["region"]) == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["A", "B", "A (2)", "A (3)", "3", "0", ""]), max_size=9))
def test_names_are_unique_and_the_first_of_each_is_unchanged(names):
    found = unique(names)
    assert len(set(found)) == len(found) == len(names)
    assert all(
        new == name or (new.startswith(name) and name in names[:i])
        for i, (new, name) in enumerate(zip(found, names, strict=True))
    )
    assert all(found[names.index(name)] == name for name in names)


def test_names_of_ds9_files_are_texts_and_tags(tmp_path):
    circle = "circle({ra},{dec},1')"
    marks = [
        "# text={007}",
        "# tag={group a} tag={b}",
        "# color=red",
        "# text={NaN}",
        "# text='1e3' tag={x}",
        "# text={}",
    ]
    lines = [f"{circle.format(ra=PLACES[0].ra.deg, dec=PLACES[0].dec.deg)} {mark}" for mark in marks]
    (tmp_path / "a.reg").write_text("\n".join(["fk5", *lines]))
    assert region_names(as_regions(tmp_path / "a.reg")) == ["007", "group a, b", "2", "NaN", "1e3", "5"]


# ---- columns


@pytest.mark.parametrize("keep", [True, "z", ["z"], ("id", "z")])
def test_results_keep_columns_and_can_be_joined(keep, tmp_path):
    table = clusters(radius=[1, 2, 1] * u.arcmin, id=[7, 8, 9], z=[0.2, 0.3, 0.4], kappa=[5, 6, 7])
    table["flux"] = MaskedColumn([1, 2, 3], mask=[0, 1, 0])
    kept = table.colnames if keep is True else [keep] if isinstance(keep, str) else list(keep)
    table.write(tmp_path / "c.ecsv")
    for regions in (table, tmp_path / "c.ecsv", as_regions(table), as_regions(table)[1:]):
        found = [
            region_statistics(*maps(), regions, keep_columns=keep),
            detection_probability(*maps(), regions, 0.0, keep_columns=keep),
            projected_mass(*maps(), regions, "z", 1.0, cosmology=COSMOLOGY, keep_columns=keep),
        ]
        first = len(table) - len(found[0])
        for result, own in zip(found, (8, 11, 7), strict=True):
            assert len(result.colnames) == own + len(kept)
            assert list(result["z"]) == list(table["z"][first:])
    if keep is True:
        assert list(found[0]["kappa_input"]) == [6, 7] and list(found[0]["flux"].mask) == [True, False]
        assert list(found[2]["kappa"]) == [6, 7]  # a table of masses has no such column
        joined = join(found[1], table["id", "dec"], keys="id")
        assert len(joined) == 2
    assert region_statistics(*maps(), table).colnames[-1] == "data_fraction"


def test_columns_that_cannot_be_kept():
    with pytest.raises(ValueError, match=r"keep_columns: no column 'mass' in the table, which has .*'radius'"):
        region_statistics(*maps(), clusters(radius=[1, 2, 1] * u.arcmin), keep_columns=["mass"])
    with pytest.raises(ValueError, match="keep_columns: got True, but the regions have no columns"):
        region_statistics(*maps(), [CircleSkyRegion(PLACES[0], 1 * u.arcmin)], keep_columns=True)


# ---- rows


@pytest.mark.slow
def test_results_of_selected_clusters_are_those_of_the_rows(tmp_path):
    table = clusters(radius=[1, 2, 1] * u.arcmin, name=["A", "B", "C"], z=[0.2, 0.3, 0.4])
    table.write(tmp_path / "c.ecsv")
    rows, (mean, samples, wcs, _) = table[[0, 2]], maps()
    kappa = ConvergenceMap(mean, wcs=wcs, samples=samples)
    for regions in (table, tmp_path / "c.ecsv"):
        for select in ("name in ('A', 'C')", "-z > -0.25 | z == 0.4", [True, False, True]):
            pairs = [
                (kappa.region_statistics(part, keep_columns="z", **given)["region", "kappa", "std", "z"],
                 kappa.detection_probability(part, 0.0, **given)["region", "probability"],
                 kappa.projected_mass(part, "z", 1.0, cosmology=COSMOLOGY, **given)["region", "mass"])
                for part, given in ((regions, {"select": select}), (rows, {}))
            ]  # fmt: skip
            for found, expected in zip(*pairs, strict=True):
                assert list(found["region"]) == ["A", "C"]
                assert all(np.array_equal(found[name], expected[name]) for name in expected.colnames)
            assert np.array_equal(kappa.region_means(regions, select=select), kappa.region_means(rows))
            areas = [
                region_weights(part, wcs, SHAPE, select=how).area for part, how in ((regions, select), (rows, None))
            ]
            assert np.array_equal(*areas)


@each_case(
    ("regions", "select", "error", "message"),
    [
        (clusters(), "snr > 5", ValueError, "select: no column 'snr' among"),
        (clusters(z=[1, 2, 3]), "z > 5", ValueError, "select: 'z > 5' selects no row of 3"),
        ([CircleSkyRegion(PLACES[0], 1 * u.arcmin)], "z > 0", TypeError, "select: needs a table of clusters"),
    ],
)
def test_rows_that_cannot_be_selected(regions, select, error, message):
    with pytest.raises(error, match=f"^{message}"):
        region_statistics(*maps(), regions, select=select)


def test_the_shell_selects_rows(tmp_path, capsys):
    mean, samples, wcs, _ = maps()
    ConvergenceMap(mean, wcs=wcs, samples=samples).write(tmp_path / "k.fits")
    clusters(radius=[1, 2, 1] * u.arcmin, name=["A", "B", "C"], z=[0.2, 0.3, 0.4]).write(tmp_path / "c.ecsv")
    files = [str(tmp_path / "k.fits"), str(tmp_path / "c.ecsv"), "--select", "z != 0.3", "-o", str(tmp_path / "a.ecsv")]
    commands = {
        "region-statistics": [],
        "detection-probability": ["--threshold", "0", "--plot", str(tmp_path / "a.png")],
        "projected-mass": ["--z-lens", "z", "--z-source", "1"],
        "aperture-mass": ["--radius", "2 arcmin"],
    }
    for command, options in commands.items():
        assert main([command, *files, *options, "--overwrite"]) == 0
        assert list(QTable.read(tmp_path / "a.ecsv")["region"]) == ["A", "C"]
    assert main(["region-statistics", *files[:2], "--select", "snr > 5"]) == 1
    assert "--select: no column 'snr'" in capsys.readouterr().err


# ---- radii


def test_all_functions_of_regions_use_the_given_cosmology():
    z, r = np.array([0.1, 0.3, 0.9]), [0.5, 1.0, 0.8] * u.Mpc
    angles = (r / COSMOLOGY.angular_diameter_distance(z)).to(u.arcmin, u.dimensionless_angles())
    lengths, expected, (mean, samples, wcs, _) = clusters(R500=r, z=z), clusters(radius=angles), maps()
    kappa = ConvergenceMap(mean, wcs=wcs, samples=samples)
    with pytest.warns(AstropyUserWarning, match="is converted to angles"):
        found = kappa.region_means(lengths, cosmology=COSMOLOGY)
    assert np.allclose(found, kappa.region_means(expected), rtol=1e-9)
    with pytest.warns(AstropyUserWarning, match="is converted to angles"):
        area = region_weights(lengths, wcs, SHAPE, cosmology=COSMOLOGY).area
    assert np.allclose(area, region_weights(expected, wcs, SHAPE).area, rtol=1e-9)


def test_radii_in_kpc_become_angles():
    z, r = np.array([0.1, 0.3, 0.9]), [0.5, 1.0, 0.8] * u.Mpc
    expected = (r / COSMOLOGY.angular_diameter_distance(z)).to(u.arcmin, u.dimensionless_angles())
    for table in (clusters(R500=r, z=z), clusters(r_500=r.to(u.kpc), redshift=z), Table(clusters(R500=r, zspec=z))):
        with pytest.warns(AstropyUserWarning, match=r"in [kM]pc is converted to angles.*FlatLambdaCDM"):
            found = as_regions(table, cosmology=COSMOLOGY)
        assert u.allclose(u.Quantity([region.radius for region in found]), expected, rtol=1e-12)
    with default_cosmology.set(COSMOLOGY), pytest.warns(AstropyUserWarning, match="converted"):
        found = as_regions(clusters(R500=r, z=z))
    assert u.allclose(found[1].radius, expected[1], rtol=1e-12)
    with pytest.warns(AstropyUserWarning, match="FlatLambdaCDM"):
        one = region_statistics(*maps(), clusters(R500=r, z=z), cosmology=COSMOLOGY)
    assert np.allclose(one["kappa"], region_statistics(*maps(), clusters(radius=expected))["kappa"], rtol=1e-9)


@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")  # from astropy when it writes the files
@pytest.mark.parametrize(
    "unit",
    [
        "Mpc/h",
        "h-1 Mpc",
        "h^-1 Mpc",
        "h^{-1} Mpc",
        "Mpc h**-1",
        "Mpc/littleh",
        u.Mpc / littleh,
        u.Unit("Mpc/h"),
        "name",
    ],
)
@pytest.mark.parametrize("form", ["Table", "a.fits", "a.ecsv"])
def test_radii_in_mpc_per_h_use_h_of_the_cosmology(unit, form, tmp_path):
    z, r, name = [0.1, 0.3, 0.9], [0.5, 1.0, 0.8], "R500 [Mpc/h]" if unit == "name" else "R500"
    table = Table({"ra": PLACES.ra, "dec": PLACES.dec, name: r, "z": z})
    if unit != "name":
        table[name].unit = unit
    if form == "a.fits" and unit == u.Mpc / littleh:
        pytest.skip("FITS files cannot store this unit")
    if form != "Table":
        table.write(tmp_path / form)
        table = tmp_path / form
    with pytest.warns(AstropyUserWarning) as caught:
        found = as_regions(table, cosmology=COSMOLOGY)
    assert any("in Mpc/h is converted to angles" in str(one.message) for one in caught)
    expected = (r * u.Mpc / 0.7 / COSMOLOGY.angular_diameter_distance(z)).to(u.arcmin, u.dimensionless_angles())
    assert u.allclose(u.Quantity([region.radius for region in found]), expected, rtol=1e-12)


@each_case("unit", ["Mpc h", "h_70^-1 Mpc", "km/h"])
def test_units_with_another_h_are_rejected(unit):
    table = Table({"ra": PLACES.ra, "dec": PLACES.dec, "R500": [1.0, 1.0, 1.0], "z": [0.1, 0.3, 0.9]})
    table["R500"].unit = unit
    with pytest.raises(u.UnitsError, match=r"regions: column 'R500'"):
        as_regions(table)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"R500": [1, 2, 1] * u.Mpc / littleh},
            "column 'R500' in Mpc/h is not an angle.*Add a column of redshifts",
        ),
        ({"r": [18, 19, 20] * u.mag}, "column 'r' in mag is not an angle and is not used as a radius"),
        ({"R": MaskedColumn([18, 19, 20], mask=[0, 0, 1])}, "column 'R' without a known unit"),
        ({"theta": Column([18, 19, 20], unit="furlong per day")}, "column 'theta' without a known unit"),
        ({"R500": [1, 2, 1] * u.Mpc}, "column 'R500' in Mpc is not an angle.*Add a column of redshifts"),
        ({"R500": MaskedColumn([1, 2, 1], unit="Mpc", mask=[0, 1, 0])}, "column 'R500' in Mpc is not an angle"),
        ({"R500": [1, 2, 1] * u.Mpc, "z": [20, 21, 22] * u.mag}, "column 'R500' in Mpc is not an angle"),
    ],
)
def test_columns_that_are_not_radii_give_points(columns, message):
    with pytest.warns(AstropyUserWarning, match=message):
        found = as_regions(clusters(**columns))
    assert [type(region) for region in found] == [PointSkyRegion] * 3


def test_angles_have_priority_over_lengths_and_magnitudes():
    angles = {"theta500": [1, 2, 3] * u.arcmin, "r": [18, 19, 20] * u.mag, "R500": [1, 1, 1] * u.Mpc}
    assert [region.radius.value for region in as_regions(clusters(z=[1, 1, 1], **angles))] == [1, 2, 3]


@pytest.mark.parametrize("name", ["radius_arcmin", "r500 [arcmin]", "R_200 (arcmin)", "radius_deg", "THETA500_arcsec"])
def test_units_at_the_end_of_a_name(name, tmp_path):
    scale = {"deg": 60, "arcsec": 1 / 60}.get(name.split("_")[-1], 1)
    clusters(**{name: np.array([1, 2, 3]) / scale}).write(tmp_path / "a.csv", format="ascii.csv")
    with pytest.warns(AstropyUserWarning, match="degrees are assumed"):
        found = as_regions(tmp_path / "a.csv")
    assert np.allclose([region.radius.to_value(u.arcmin) for region in found], [1, 2, 3])
    with pytest.warns(AstropyUserWarning, match="column 'R500_Mpc' in Mpc is converted"):
        found = as_regions(clusters(R500_Mpc=[1, 2, 3], z=[0.3, 0.3, 0.3]))
    assert found[0].radius.unit == u.arcmin


@each_case(
    ("columns", "error", "message"),
    [
        (
            {"radius": MaskedColumn([2, 7, 1], unit="arcmin", mask=[0, 1, 0])},
            ValueError,
            "1 of 3 values of column 'radius'",
        ),
        ({"radius": [2, np.nan, np.nan] * u.arcmin}, ValueError, "2 of 3 values of column 'radius'"),
        ({"radius": [2, -1, 1] * u.arcmin}, ValueError, "column 'radius', the radius, needs to be positive"),
        ({"R200": [2, 1, 1]}, u.UnitsError, "column 'R200', the radius, needs an angular unit .* got None"),
        ({"radius": [2, 1, 1] * u.mag}, u.UnitsError, "column 'radius', the radius, needs an angular unit .* got mag"),
        ({"radius": [2, 1, 1] * u.Mpc, "z": [0.1, np.nan, 20]}, ValueError, "2 of 3 redshifts of column 'z'"),
    ],
)
def test_radii_that_cannot_be_used(columns, error, message):
    for table in (clusters(**columns), Table(clusters(**columns))):
        with pytest.raises(error, match=message):
            as_regions(table)


@settings(deadline=None, max_examples=30)
@given(st.data(), st.sampled_from(["i2", "i4", "f4", "f8"]), st.sampled_from([Table, QTable]))
def test_no_masked_radius_is_ever_used(data, dtype, kind):
    mask = data.draw(st.lists(st.booleans(), min_size=3, max_size=3))
    values = np.array([2, 7, 9], dtype=dtype)
    table = kind(clusters(radius=MaskedColumn(values, mask=mask, unit="arcmin", fill_value=99)))
    if any(mask):
        with pytest.raises(ValueError, match="are missing"):
            as_regions(table)
    else:
        assert [region.radius.to_value(u.arcmin) for region in as_regions(table)] == [2, 7, 9]


# ---- positions


@pytest.mark.filterwarnings("ignore:.*sexagesimal text has no unit")
@pytest.mark.parametrize(
    ("ra", "dec", "units"),
    [
        (["10:00:24.0", "10:00:00"], ["+02:08:00", "-00:30:00"], (None, None)),
        (["10 00 24.0", "10 00 00"], ["+02 08 00", "-0 30 00"], ('"h:m:s"', '"d:m:s"')),  # VizieR
        (["150:06:00", "150:00:00"], ["02:08:00", "-00:30:00"], ("deg", "deg")),
    ],
)
def test_sexagesimal_positions(ra, dec, units):
    table = Table({"RAJ2000": Column(ra, unit=units[0]), "DEJ2000": Column(dec, unit=units[1])})
    one, two = as_regions(table)
    assert one.center.separation(SkyCoord(150.1, 2 + 8 / 60, unit="deg")) < 1e-6 * u.arcsec
    assert two.center.separation(SkyCoord(150, -0.5, unit="deg")) < 1e-6 * u.arcsec
    table["id"], table["radius"] = [7, 8], [1, 1] * u.arcmin
    kept = region_statistics(*maps(), table, keep_columns=True)  # text with a unit is not a quantity
    assert list(kept["RAJ2000"]) == ra and list(kept["region"]) == ["7", "8"]


def test_missing_positions_are_counted_and_keep_their_row():
    for kind in (Table, QTable):
        table = kind(Table(clusters(radius=[2, 2, 2] * u.arcmin), masked=True))
        table["ra"].mask[1] = True
        with pytest.warns(AstropyUserWarning, match="regions: 1 of 3 positions are missing"):
            found = region_statistics(*maps(), table)
        assert np.isnan(found["kappa"]).tolist() == [False, True, False]


# ---- redshifts by column


def test_each_region_has_the_redshift_of_its_column():
    table = clusters(radius=[2, 2, 2] * u.arcmin, zl=[0.2, 0.3, 0.5])
    for kind in (table, Table(table), as_regions(table)):
        named = projected_mass(*maps(), kind, "zl", 1.0, cosmology=COSMOLOGY)
        given_ = projected_mass(*maps(), kind, [0.2, 0.3, 0.5], 1.0, cosmology=COSMOLOGY)
        assert u.allclose(named["mass"], given_["mass"], rtol=1e-12) and named.meta["z_lens"] == [0.2, 0.3, 0.5]


def test_missing_redshifts_give_missing_masses():
    zl = MaskedColumn([0.2, 999.0, -1], mask=[0, 1, 0])
    with pytest.warns(AstropyUserWarning, match="2 of 3 values of column 'zl' are not redshifts"):
        table = projected_mass(*maps(), clusters(radius=[2, 2, 2] * u.arcmin, zl=zl), "zl", 1.0, cosmology=COSMOLOGY)
    assert np.isfinite(table["mass"].value).tolist() == [True, False, False]


@each_case(
    ("columns", "error", "message"),
    [
        ({}, ValueError, "z_lens: no column 'zl' in the table of clusters"),
        ({"zl": [20, 21, 22] * u.mag}, u.UnitsError, "z_lens: column 'zl'"),
        ({"zl": ["a", "b", "c"]}, TypeError, "z_lens: column 'zl'"),
        ({"zl": [np.nan, -1, 0]}, ValueError, "z_lens: column 'zl' contains no positive redshift"),
    ],
)
def test_columns_that_are_not_redshifts(columns, error, message):
    with pytest.raises(error, match=message):
        projected_mass(*maps(), clusters(radius=[2, 2, 2] * u.arcmin, **columns), "zl", 1.0)
    with pytest.raises(ValueError, match="z_lens: got 'zl', the name of a column, but the regions are not a table"):
        projected_mass(*maps(), [CircleSkyRegion(PLACES[0], 1 * u.arcmin)], "zl", 1.0)


# ---- files


def test_names_beyond_ascii_can_be_written(tmp_path):
    names = ["Größe", "\u03b1 Cen", "Groe"]
    table = region_statistics(
        *maps(), clusters(radius=[2, 2, 2] * u.arcmin, name=names, größe=[1, 2, 3]), keep_columns=True
    )
    table.meta = {"author": "é"}
    table.write(tmp_path / "a.ecsv")
    assert list(QTable.read(tmp_path / "a.ecsv")["region"]) == names
    for file, options in (("a.fits", {}), ("a.dat", {"format": "fits"})):
        with pytest.warns(AstropyUserWarning, match="'region', 'name', 'größe' is transliterated"):
            table.write(tmp_path / file, **options)
        back = QTable.read(tmp_path / file, format="fits")
        assert list(back["region"]) == ["Grosse", "\\u03b1 Cen", "Groe"]
        assert list(back["grosse"]) == [1, 2, 3]
        assert back.meta["AUTHOR"] == "e"
    assert list(table["region"]) == names  # the table itself is unchanged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table["kappa", "std"][:1].write(tmp_path / "b.fits")


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=8))
def test_text_in_ascii(text):
    assert to_ascii(text).isascii()
    if text.isascii():
        assert to_ascii(text) == text
    assert to_ascii("RXC J0014.3\u22123022") == "RXC J0014.3-3022" and to_ascii("Größe\xa0\u03b1") == "Grosse \\u03b1"


def test_transliterated_names_stay_unique(tmp_path):
    table = region_statistics(*maps(), clusters(radius=[2, 2, 2] * u.arcmin, name=["é", "e", "è"]))
    table.meta.clear()
    with pytest.warns(AstropyUserWarning, match="transliterated"):
        table.write(tmp_path / "a.fits")
    assert list(QTable.read(tmp_path / "a.fits")["region"]) == ["e", "e (2)", "e (3)"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig", "utf-16"])
def test_region_files_in_other_encodings(encoding, tmp_path):
    (tmp_path / "a.reg").write_bytes("fk5\r\ncircle(150,2,1') # text={Größe}\r\n".encode(encoding))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (region,) = as_regions(tmp_path / "a.reg")
    assert region.meta["text"] == "Größe"
    assert [str(one.message) for one in caught if "Latin-1" in str(one.message)] == (
        ["regions: the file is not in UTF-8; Latin-1 is assumed"] * (encoding == "latin-1")
    )


def test_tables_of_results_can_be_read_as_regions(tmp_path):
    table = region_statistics(
        *maps(), clusters(radius=[1, 2, 1] * u.arcmin, name=["A", "A", "C"]), keep_columns="radius"
    )
    table.write(tmp_path / "a.ecsv")
    again = region_statistics(*maps(), tmp_path / "a.ecsv")
    assert list(again["region"]) == ["A", "A (2)", "C"] and np.allclose(again["kappa"], table["kappa"])
    assert isinstance(Regions(as_regions(table)), Regions)


def test_masked_positions_of_one_column_are_missing():
    mask = np.array([False, True])
    places = SkyCoord(Masked([150, 150.1] * u.deg, mask=mask), Masked([2, 2] * u.deg, mask=mask))
    with pytest.warns(AstropyUserWarning, match="1 of 2 positions are missing"):
        first, second = as_regions(QTable({"pos": places, "radius": [1, 2] * u.arcmin}))
    assert first.center.ra.deg == 150 and np.isnan(second.center.ra.deg)  # the value under the mask was used
