"""Tomographic bins of a catalogue, and the maps of all bins."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from regions import CircleSkyRegion, TextSkyRegion

from astro_massmap import (
    ConvergenceMap,
    KaiserSquires,
    PowerSpectrum,
    ShearCatalog,
    Wiener,
    reconstruct_fields,
    write_fields,
)
from astro_massmap._utils.progress import part_named, warn
from astro_massmap.inference import side_by_side
from astro_massmap.maps.n_z import histogram, mean_redshift

from helpers.cases import each_case

MEAN_ONLY = Wiener(n_samples=0, uncertainty=False)
EDGES = [0.2, 0.6, 1.0, 1.5]
Z = np.linspace(0, 2, 101)


def make(n=2400, seed=0, **options):
    rng = np.random.default_rng(seed)
    e, (x, y) = rng.normal(scale=0.25, size=(2, n)), rng.uniform(-8, 8, size=(2, n)) / 60
    options = {"axes": "west-north", "redshift": rng.uniform(0.1, 1.8, n), "weight": rng.uniform(0.5, 2, n)} | options
    return ShearCatalog(SkyCoord(30 + x, y, unit="deg"), *e, **options)


def table_of(catalog, **columns):
    table = catalog.to_table()
    for name, column in columns.items():
        table[name] = column
    return table


# ---- bins


def test_bins_in_redshift():
    catalog = make()
    z = catalog.redshift
    outside = (z < 0.2) | (z > 1.5)
    with pytest.warns(AstropyUserWarning, match=f"bins: {outside.sum()} of 2400 galaxies are in no bin"):
        bins = catalog.bins(edges=EDGES, total=True)
    assert list(bins) == [1, 2, 3, "all"]
    for key, low, high in zip(bins, EDGES, EDGES[1:], strict=False):
        inside = (z >= low) & (z < high)
        assert np.array_equal(bins[key].g1, catalog.g1[inside]) and bins[key].meta["bin"] == key
        assert np.allclose(bins[key].n_z, histogram(z[inside], catalog.weight[inside]))
    assert len(bins["all"]) == (~outside).sum()
    assert mean_redshift(bins["all"].n_z) == pytest.approx(
        np.average(z[~outside], weights=catalog.weight[~outside]), rel=1e-6
    )


def test_edges_belong_to_the_bin_above_except_the_last():
    catalog = make(4, redshift=[0.2, 0.6, 1.0, 1.5])
    assert [part.redshift.tolist() for part in catalog.bins(edges=EDGES).values()] == [[0.2], [0.6], [1.0, 1.5]]


def test_galaxies_without_redshift_or_number_are_in_no_bin():
    z = np.full(2400, 0.5)
    z[:10], z[10:15] = np.nan, -99
    with pytest.warns(AstropyUserWarning, match="bins: 15 of 2400"):
        assert len(make(redshift=z).bins(edges=[0, 1])[1]) == 2385
    numbers = np.ma.masked_equal(np.arange(2400) % 5 - 1, 2)
    with pytest.warns(AstropyUserWarning, match="bins: 960 of 2400"):
        assert list(make().bins(numbers)) == [0, 1, 3]


@each_case("name", ["tomo", "TOMO_BIN", "zbin", "number of the bin"])
def test_columns_of_bin_numbers(name):
    numbers = np.arange(2400) % 4 + 1
    columns = {"tomo": name} if name.startswith("number") else None
    catalog = ShearCatalog.from_table(table_of(make(), **{name: numbers}), axes="west-north", columns=columns)
    assert catalog.columns["tomo"] == name
    assert np.array_equal(catalog.tomo, numbers)
    assert [len(part) for part in catalog.bins("tomo").values()] == [600] * 4
    assert [part.tomo[0] for part in catalog[::2].bins().values()] == [1, 3]


def test_bin_0_of_hsc_means_no_bin():
    table = table_of(make(), hsc_y3_zbin=np.arange(2400) % 5)
    with pytest.warns(AstropyUserWarning, match="bins: 480 of 2400 galaxies are in no bin"):
        assert list(ShearCatalog.from_table(table, axes="west-north").bins()) == [1, 2, 3, 4]
    table.rename_column("hsc_y3_zbin", "zbin")
    catalog, n_z = ShearCatalog.from_table(table, axes="west-north"), {key: (Z, Z) for key in range(1, 5)}
    for given in (n_z, Table({"z": Z} | {f"bin{key}": n for key, (_, n) in n_z.items()})):
        with pytest.raises(ValueError, match="if 0 means no bin, leave out these galaxies"):
            catalog.bins(n_z=given)


def test_bins_from_0_have_the_distributions_of_bins_from_1():
    catalog, narrow = make(), [np.exp(-((Z - z) ** 2) / 0.01) for z in (0.4, 0.8, 1.2)]
    table = Table({"z": Z} | {f"bin{key}": n for key, n in enumerate(narrow, start=1)})
    with pytest.warns(AstropyUserWarning, match="n_z: the bins 0 to 2 of the catalogue have .* of the bins 1 to 3"):
        bins = catalog.bins(np.arange(2400) % 3, n_z=table)
    assert [mean_redshift(part.n_z) for part in bins.values()] == pytest.approx([0.4, 0.8, 1.2], abs=0.01)
    with pytest.raises(ValueError, match="n_z: needs one column or tracer for bin 0"):  # and one too many
        catalog.bins(np.arange(2400) % 2, n_z=table)


def test_columns_that_are_no_bin_numbers():
    table = table_of(make(), tomo=np.linspace(0, 1, 2400))
    with pytest.warns(AstropyUserWarning, match="tomo: the column 'tomo' is not used because .* whole numbers"):
        assert ShearCatalog.from_table(table, axes="west-north").tomo is None
    with pytest.raises(ValueError, match="tomo: needs whole numbers of bins"):
        ShearCatalog.from_table(table, axes="west-north", columns={"tomo": "tomo"})


@each_case(
    ("options", "message"),
    [
        ({}, "tomo: the catalogue has no bin numbers; read it with columns="),
        ({"tomo": "zbin"}, "tomo: a catalogue has one column of bin numbers, 'tomo', got 'zbin'"),
        ({"tomo": [1, 2]}, r"tomo: needs the shape \(2400,\)"),
        ({"tomo": np.full(2400, -1)}, "tomo: needs bin numbers of 0 or larger"),
        ({"edges": [0.5, 0.2]}, "edges: needs two or more increasing redshifts"),
        ({"edges": [5, 6]}, "edges: no galaxy between the redshifts 5 and 6"),
        ({"edges": [0, 1, 2], "n_z": {1: (Z, Z)}}, r"n_z: needs one for each of the bins \[1, 2\], there is none for"),
        ({"edges": [0, 1, 2], "n_z": Table({"z": Z, "bin1": Z})}, "n_z: needs one column or tracer for bin 2"),
        ({"edges": [0, 1, 2], "n_z": (Z, Z)}, "n_z: needs a dictionary of the bins"),
    ],
)
def test_errors_name_the_argument(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make().bins(**options)


def test_edges_need_redshifts():
    with pytest.raises(ValueError, match="edges: the catalogue has no redshifts"):
        make(redshift=None).bins(edges=EDGES)


# ---- n(z) of bins


def bump(center):
    return np.exp(-0.5 * ((Z - center) / 0.1) ** 2)


@each_case("form", ["dict", "list", "table", "file"])
def test_distributions_of_bins(form, tmp_path):
    centers = {1: 0.4, 2: 0.8, 10: 1.2}
    table = Table({"z": Z, **{f"bin{key}": bump(z) for key, z in centers.items()}})
    table.write(tmp_path / "n_z.ecsv", overwrite=True)
    source = {
        "dict": {key: (Z, bump(z)) for key, z in centers.items()},
        "list": [(Z, bump(z)) for z in centers.values()],
        "table": table,
        "file": tmp_path / "n_z.ecsv",
    }[form]
    catalog = make(tomo=np.array([1, 2, 10])[np.arange(2400) % 3])
    bins = catalog.bins(n_z=source, total=True)
    assert [mean_redshift(part.n_z) for part in bins.values()] == pytest.approx(
        [0.4, 0.8, 1.2, np.average([0.4, 0.8, 1.2], weights=[bins[key].weight.sum() for key in (1, 2, 10)])], abs=1e-3
    )


def test_the_four_bins_of_des(massmap_data):
    catalog = make(redshift=None, tomo=np.arange(2400) % 4 + 1)
    with pytest.warns(AstropyUserWarning, match="negative densities, .* are set to 0"):
        bins = catalog.bins("tomo", n_z=massmap_data / "surveys/desy3_nz.ecsv")
    assert [mean_redshift(part.n_z) for part in bins.values()] == pytest.approx([0.336, 0.521, 0.741, 0.936], abs=5e-3)


def test_the_distribution_of_all_galaxies_is_not_that_of_a_bin():
    catalog = make(redshift=None, n_z=(Z, bump(1)), tomo=np.arange(2400) % 2)
    with pytest.warns(AstropyUserWarning, match="n_z: that of the catalogue is not the one of a single bin"):
        assert [part.n_z for part in catalog.bins().values()] == [None, None]
    catalog = make(n_z=(Z, bump(1)), tomo=np.arange(2400) % 2)
    assert mean_redshift(catalog.bins()[0].n_z) == pytest.approx(catalog.redshift[::2].mean(), abs=0.05)


def test_bins_without_a_distribution_give_one_warning():
    catalog = make(redshift=None, tomo=np.arange(2400) % 2 + 1)
    with pytest.warns(
        AstropyUserWarning, match=r"n_z: there is none for the bins.*redshift 1, unless the distribution"
    ) as caught:
        bins = catalog.bins(total=True)
    assert len(caught) == 1 and [part.n_z for part in bins.values()] == [None] * 3


# ---- maps of bins


def bins_of_three(**options):
    catalog = make(redshift=None, tomo=np.arange(2400) % 2 + 1)
    return catalog.bins(n_z={1: (Z, bump(0.4)), 2: (Z, bump(1.2))}, total=True, **options)


def test_bins_have_one_grid_and_their_own_spectra():
    bins = bins_of_three()
    maps = dict(zip(bins, reconstruct_fields(bins, MEAN_ONLY, progress=False), strict=True))
    assert [kappa.meta["bin"] for kappa in maps.values()] == [1, 2, "all"]
    assert len({kappa.shape for kappa in maps.values()}) == 1
    assert all(kappa.wcs.wcs.compare(maps[1].wcs.wcs) for kappa in maps.values())
    assert maps[1].pixel_scale.to_value(u.arcmin) == pytest.approx(0.6, rel=1e-6)  # 9 galaxies per arcmin2 in all
    assert {kappa.meta["pixel_scale"] for kappa in maps.values()} == {
        f"0.6 arcmin, from {bins[1].density.value:.3g} galaxies per square arcminute in bin 1"
    }
    for key, kappa in maps.items():
        shear = bins[key].to_map(wcs=maps[1].wcs)
        own = shear.reconstruct(
            Wiener(PowerSpectrum.from_n_z(*bins[key].n_z), n_samples=0, uncertainty=False), progress=False
        )
        assert np.array_equal(kappa.data, own.data)


def test_one_method_for_each_field():
    bins = bins_of_three()
    del bins["all"]
    methods = [KaiserSquires(), "wiener"]
    maps = list(reconstruct_fields(bins, methods, pixel_scale=1 * u.arcmin, progress=False))
    assert [kappa.diagnostics["method"] for kappa in maps] == ["KaiserSquires", "Wiener"]
    assert {kappa.shape for kappa in maps} == {(16, 16)}
    with pytest.raises(ValueError, match="method: needs one for all fields or one for each of 2, got 3"):
        reconstruct_fields(bins, [*methods, None])


def test_streams_of_bins_are_independent():
    catalog = make(tomo=np.arange(2400) % 2, redshift=np.full(2400, 0.7))
    maps = reconstruct_fields(catalog.bins(), Wiener(n_samples=30), pixel_scale=2 * u.arcmin, progress=False)
    one, two = ((kappa.samples - kappa.samples.mean(axis=0)).ravel() for kappa in maps)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.1


def test_lists_are_separate_fields_with_their_own_grids():
    near, far = make(400, n_z=0.5, redshift=None), make(4000, seed=1, n_z=1.0, redshift=None)
    maps = list(reconstruct_fields([near, far], KaiserSquires(), progress=False))
    assert [round(kappa.pixel_scale.to_value(u.arcmin), 3) for kappa in maps] == [1.0, 0.4]
    shear = near.to_map()
    with pytest.raises(TypeError, match="pixel_scale: needs catalogues as fields"):
        reconstruct_fields([shear, far], KaiserSquires(), pixel_scale=1 * u.arcmin)
    same = list(reconstruct_fields([shear, far], KaiserSquires(), progress=False))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(maps, same, strict=True))


def test_files_and_table_of_bins(tmp_path):
    bins = bins_of_three()
    maps = list(reconstruct_fields(bins, KaiserSquires(), progress=False))
    table = write_fields(maps, tmp_path / "maps")
    assert table["bin"].tolist() == ["1", "2", "all"]
    assert table["n_galaxies"].tolist() == [1200, 1200, 2400]
    assert table["reduced_shear"].tolist() == [False] * 3
    on = write_fields(reconstruct_fields(bins, MEAN_ONLY, reduced_shear=True, progress=False), tmp_path / "on")
    assert on["reduced_shear"].tolist() == [True] * 3
    assert table["density"].to_value(u.arcmin**-2) == pytest.approx([4.7 * 0.88, 4.7 * 0.88, 9.4 * 0.88], rel=0.15)
    assert table["mean_redshift"][:2] == pytest.approx([0.4, 1.2], abs=0.01)
    again = QTable.read(tmp_path / "maps/bins.ecsv")
    assert again.colnames == table.colnames and again["pixel_scale"].unit == u.arcmin
    for row, kappa in zip(again, maps, strict=True):
        assert np.array_equal(ConvergenceMap.read(tmp_path / "maps" / row["file"]).data, kappa.data)
    with pytest.raises(OSError, match="overwrite"):
        write_fields(maps, tmp_path / "maps")
    with pytest.raises(ValueError, match="maps: two of them have the bin '1'"):
        write_fields([maps[0], maps[0]], tmp_path / "maps", overwrite=True)
    with pytest.raises(ValueError, match="maps: needs at least one"):
        write_fields([], tmp_path / "none")


def test_the_total_does_not_set_the_pixel_scale_unless_it_is_alone():
    bins = bins_of_three()
    bins[2] = bins[2][::2]
    densest = {key: bins[key] for key in (2, 1, "all")}
    maps = list(reconstruct_fields(densest, KaiserSquires(), progress=False))
    assert [round(kappa.pixel_scale.to_value(u.arcmin), 3) for kappa in maps] == [0.6] * 3
    assert all("in bin 1" in kappa.meta["pixel_scale"] for kappa in maps)
    (alone,) = reconstruct_fields({"all": bins["all"]}, KaiserSquires(), progress=False)
    assert alone.pixel_scale.to_value(u.arcmin) == pytest.approx(0.4, rel=1e-6)
    given = list(reconstruct_fields(densest, KaiserSquires(), pixel_scale=2 * u.arcmin, progress=False))
    assert not any("pixel_scale" in kappa.meta for kappa in given)


@each_case("kind", ["bins", "dictionary", "list"])
@each_case("threads", [1, 2])
def test_warnings_name_the_bin_or_field(kind, threads, monkeypatch, capsys):
    monkeypatch.setattr("astro_massmap.inference.available_cores", lambda: threads)
    catalog = make(redshift=np.full(2400, 0.7), tomo=np.arange(2400) % 2 + 1)
    bins = catalog.bins()
    if kind != "bins":
        for part in bins.values():
            del part.meta["bin"]
    fields = {"bins": bins, "dictionary": {"near": bins[1], "far": bins[2]}, "list": iter(bins.values())}[kind]
    names = {"bins": ("bin 1", "bin 2"), "dictionary": ("bin near", "bin far"), "list": ("field 1", "field 2")}[kind]
    star = CircleSkyRegion(SkyCoord(30, 0, unit="deg"), 1 * u.arcmin)
    with pytest.warns(AstropyUserWarning) as caught:
        list(reconstruct_fields(fields, MEAN_ONLY, mask=[star, TextSkyRegion(star.center, "star")]))
    messages = sorted(str(one.message) for one in caught)
    assert messages == sorted(f"{name}: mask: 1 text label left out; they have no area" for name in names)
    lines = capsys.readouterr().err
    assert all(f"{name}: prior spectrum" in lines for name in names)


def test_warnings_of_chains_in_threads_name_the_field():
    def chain(i):
        warn(f"chain {i}")

    with pytest.warns(AstropyUserWarning) as caught, part_named("bin 3"):
        list(side_by_side(chain, range(4), workers=2))
    with pytest.warns(AstropyUserWarning, match="^chain 5$"):
        chain(5)
    assert sorted(str(one.message) for one in caught) == [f"bin 3: chain {i}" for i in range(4)]
