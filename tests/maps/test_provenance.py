"""The provenance record of a map in its meta and in the header of its file."""

import dataclasses
import hashlib
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata, resources

import numpy as np
import pytest
import torch
from astropy.io import fits
from hypothesis import given, strategies as st
from safetensors import safe_open

from astro_massmap import (
    AnnealedHMC,
    ConvergenceMap,
    GaussianPrior,
    KaiserSquires,
    PosteriorDiffusion,
    PosteriorMean,
    PowerSpectrum,
    ScorePrior,
    ShearMap,
    Wiener,
)
from astro_massmap.maps.provenance import cards
from astro_massmap.methods.provenance import identity
from astro_massmap.priors import PosteriorNetwork

from helpers import small_priors
from helpers.analytic_priors import LognormalPrior, MixturePrior
from helpers.skies import tan_wcs

SHAPE = (20, 24)
PIXEL_SIZE = np.deg2rad(0.4 / 60)
METHODS = [
    KaiserSquires(),
    Wiener(n_samples=2, seed=5),
    AnnealedHMC(GaussianPrior(), n_samples=2, n_check=0),
    PosteriorDiffusion(n_samples=2, steps=3, n_check=0),
]


def shear(seed=0, noise_std=0.1, scale=0.4, **options):
    data = np.random.default_rng(seed).normal(scale=0.1, size=(2, *SHAPE))
    return ShearMap(data, wcs=tan_wcs(SHAPE, scale=scale), noise_std=noise_std, **options)


def provenance(method=None, **options):
    return shear(**options).reconstruct(method or KaiserSquires(), progress=False).meta["provenance"]


def header_checksum(file):
    with safe_open(str(file), framework="pt") as opened:
        return json.loads(opened.metadata()["prior"])["sha256"]


# ---- the record


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_the_contents_of_a_record(method):
    before = datetime.now(UTC).replace(microsecond=0)
    kappa = shear(meta={"survey": "mock"}).reconstruct(method, progress=False)
    made = kappa.meta["provenance"]
    assert json.loads(json.dumps(made)) == made
    assert kappa.meta["survey"] == "mock"
    assert made["method"] == type(method).__name__
    assert made["seed"] == getattr(method, "seed", None)
    assert made["settings"] == kappa.diagnostics["settings"]
    assert set(made["settings"]) == {f.name for f in dataclasses.fields(method)}
    assert made["versions"] == kappa.diagnostics["versions"]
    assert made["versions"]["scipy"] == metadata.version("scipy")
    assert made["versions"]["python"] == platform.python_version()
    assert made["device"] == "cpu" and made["platform"] and made["threads"] == torch.get_num_threads()
    assert before <= datetime.fromisoformat(made["date"]) <= datetime.now(UTC)
    assert "provenance" not in kappa.diagnostics
    assert (made["prior"] is None) == isinstance(method, KaiserSquires)


def test_settings_become_plain_numbers():
    made = provenance(Wiener(n_samples=np.int64(2), seed=np.int32(3), padding=np.float32(2)))
    assert json.dumps([made["settings"], made["seed"]])
    assert type(made["seed"]) is int and type(made["settings"]["padding"]) is float


def test_the_checksum_of_the_input():
    made = provenance()["input"]
    mine = shear()
    digest = hashlib.sha256(b'{"kind": "Observation", "shape": [20, 24]}')
    digest.update(mine.data.astype("<f8").tobytes() + mine.noise_std.astype("<f8").tobytes())
    digest.update(repr(made["pixel_size"]).encode())
    assert made["sha256"] == digest.hexdigest()
    assert made["shape"] == list(SHAPE) and made["pixel_size"] == pytest.approx(PIXEL_SIZE, rel=1e-3)


def test_all_data_of_the_method_change_the_checksum_of_the_input():
    mask = np.zeros(SHAPE, bool)
    mask[3, 4] = True
    changes = [{}, {"seed": 1}, {"noise_std": 0.2}, {"mask": mask}, {"scale": 0.5}]
    assert len({provenance(**change)["input"]["sha256"] for change in changes}) == len(changes)
    # meta and method do not change it
    assert provenance(Wiener(n_samples=0), meta={"a": 1})["input"] == provenance()["input"]


@pytest.mark.slow
def test_another_process_records_the_same():
    shear().write("shear.fits")
    code = """
import json, torch
from astro_massmap import AnnealedHMC, GaussianPrior, ShearMap
torch.set_num_threads(1)
method = AnnealedHMC(GaussianPrior(), n_samples=2, n_check=0)
print(json.dumps(ShearMap.read("shear.fits").reconstruct(method, progress=False).meta["provenance"]))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    there = json.loads(printed)
    here = ShearMap.read("shear.fits").reconstruct(METHODS[2], progress=False).meta["provenance"]
    assert there | {"date": here["date"]} == here


@pytest.mark.filterwarnings("ignore:the noise seems")  # a posterior mean has less noise than its uncertainty
def test_a_map_as_input_keeps_its_record():
    first = shear().reconstruct(Wiener(n_samples=0))
    second = first.reconstruct("wiener", n_samples=0, progress=False)
    third = second.reconstruct("kaiser_squires")
    made = third.meta["provenance"]
    assert made["method"] == "KaiserSquires" and made["input"]["kind"] == "ConvergenceObservation"
    assert made["of_input"] == second.meta["provenance"]
    assert made["of_input"]["of_input"] == first.meta["provenance"]
    assert "of_input" not in first.meta["provenance"]
    # values of other programs under this name are kept
    made = provenance(meta={"provenance": "release 2"})
    assert made["of_input"] == "release 2" and made["method"] == "KaiserSquires"


def test_parts_of_a_map_keep_the_record():
    kappa = shear().reconstruct("kaiser_squires")
    for other in (kappa[3:9, 2:20], kappa.surface_density(0.3, 1.0)):
        assert other.meta["provenance"] == kappa.meta["provenance"]


# ---- the prior


def test_shipped_weights_have_the_checksum_of_their_files():
    weights = resources.files("astro_massmap.priors") / "weights"
    made = identity(AnnealedHMC())
    assert made["kind"] == "ScorePrior" and made["sha256"] == header_checksum(weights / "default.safetensors")
    assert made["name"] == repr(ScorePrior.load("default"))
    made = identity(PosteriorMean())
    assert made["kind"] == "PosteriorNetwork"
    assert made["sha256"] == header_checksum(weights / "posterior.safetensors")
    assert identity(PosteriorDiffusion(PosteriorNetwork.load("default"))) == made


@pytest.mark.parametrize("theory", [None, PowerSpectrum([10, 1e5], [1e-8, 1e-13], name="other")])
def test_a_saved_prior_has_the_checksum_of_its_file(theory, tmp_path):
    prior = small_priors.prior(spectrum=theory)
    prior.save("p.safetensors")
    made = identity(AnnealedHMC(prior))
    assert made["sha256"] == header_checksum(tmp_path / "p.safetensors")
    assert identity(AnnealedHMC(ScorePrior.load("p.safetensors"))) == made
    assert made["options"].get("theory") == (theory and "other")


@pytest.mark.parametrize("theory", [None, small_priors.THEORY])
def test_a_saved_network_has_the_checksum_of_its_file(theory, tmp_path):
    network = small_priors.posterior() if theory is None else small_priors.posterior().scaled(theory)
    network.save("m.safetensors")
    made = identity(PosteriorDiffusion(network))
    assert made["sha256"] == header_checksum(tmp_path / "m.safetensors")
    assert identity(PosteriorMean(PosteriorNetwork.load("m.safetensors"))) == made


def test_all_parts_of_a_prior_change_its_identity():
    theory = PowerSpectrum(small_priors.THEORY.ell, 1.01 * small_priors.THEORY.cl, name=small_priors.THEORY.name)
    priors = [
        small_priors.prior(),
        small_priors.prior(seed=1),
        small_priors.prior(correction=small_priors.table(network=(1.2, 0.91))),
        small_priors.prior(spectrum=theory),
        dataclasses.replace(small_priors.prior(), margin=9),
        dataclasses.replace(small_priors.prior(), bfloat16=True),
    ]
    made = [identity(AnnealedHMC(prior)) for prior in priors]
    assert len({json.dumps(m) for m in made}) == len(priors)
    # arrays are in the checksum, plain options are listed separately
    assert len({m["sha256"] for m in made}) == 4
    assert made[4]["options"]["margin"] == 9 and made[5]["options"]["bfloat16"] is True


def test_the_spectrum_is_the_identity_of_gaussian_priors():
    default = identity(Wiener())
    assert default["name"] == "default: z_s = 1"
    priors = GaussianPrior(), GaussianPrior(PowerSpectrum.default())
    for method in (Wiener(PowerSpectrum.default()), *map(AnnealedHMC, priors)):
        assert identity(method)["sha256"] == default["sha256"]
    tables = [PowerSpectrum([10, 1e5], [1e-8, cl]) for cl in (1e-13, 2e-13)]
    first, second = (identity(Wiener(table)) for table in tables)
    assert len({first["sha256"], second["sha256"], default["sha256"]}) == 3
    digest = hashlib.sha256()
    for name, values in (("spectrum.cl", [1e-8, 1e-13]), ("spectrum.ell", [10, 1e5])):
        digest.update(name.encode() + b"(2,)" + np.array(values, "<f8").tobytes())
    assert first["sha256"] == digest.hexdigest()


def test_functions_and_other_objects():
    power = [identity(Wiener(lambda ell, a=a: a * ell**-2.0)) for a in (1e-6, 1e-6, 2e-6)]
    assert power[0]["sha256"] == power[1]["sha256"] != power[2]["sha256"]

    class Foreign:
        pixel_size = 1e-4

        def on(self, grid):
            return GaussianPrior().on(grid)

    made = identity(AnnealedHMC(Foreign()))
    assert made["kind"] == "Foreign" and made["sha256"] is None and made["options"] == {"pixel_size": 1e-4}
    means = np.zeros((2, 4, 4))
    mixtures = [MixturePrior(small_priors.THEORY, means + m, (0.5, 0.5)) for m in (0, 1)]
    first, second = (identity(AnnealedHMC(mixture)) for mixture in mixtures)
    assert first["sha256"] != second["sha256"] and first["options"]["weights"] == [0.5, 0.5]
    assert identity(AnnealedHMC(LognormalPrior(small_priors.THEORY, 0.03)))["options"]["shift"] == 0.03
    assert identity(KaiserSquires()) is None and identity(object()) is None

    def broken(ell):
        raise KeyError(ell)

    assert identity(Wiener(broken))["sha256"] is None


# ---- the header


def written(kappa, file="kappa.fits"):
    """Read the primary header back and check it against the standard; the map is unchanged."""
    kappa.write(file, overwrite=True)
    with fits.open(file) as hdus:
        hdus.verify("exception")
        header = hdus[0].header.copy()
        assert all(len(card) % 80 == 0 and card.isascii() for card in map(str, header.cards))
    back = ConvergenceMap.read(file)
    assert back.meta == kappa.meta and back.diagnostics == kappa.diagnostics
    return header


def test_the_cards_of_a_header():
    kappa = shear().reconstruct(AnnealedHMC(GaussianPrior(), n_samples=2, n_check=0, seed=7), progress=False)
    header, made = written(kappa), kappa.meta["provenance"]
    assert header["CREATOR"] == f"astro_massmap {metadata.version('astro_massmap')}"
    assert (header["METHOD"], header["NSAMPLES"], header["SEED"]) == ("AnnealedHMC", 2, 7)
    assert header["INPUTSHA"] == made["input"]["sha256"] and len(header["INPUTSHA"]) == 64
    assert header["PRIORSHA"] == made["prior"]["sha256"]
    assert header["PRIOR"] == made["prior"]["name"]
    assert header["DATE-RUN"] + "Z" == made["date"]
    written_at = datetime.fromisoformat(header["DATE"]).replace(tzinfo=UTC)
    assert datetime.fromisoformat(made["date"]) <= written_at <= datetime.now(UTC)
    for card, name in (("PY", "python"), ("NPY", "numpy"), ("TOR", "torch"), ("MAP", "astro_massmap")):
        assert header[f"VERS_{card}"] == made["versions"][name]
    for card in ("METHOD", "NSAMPLES", "SEED", "DATE", "VERS_NPY"):
        assert header.comments[card]
    for setting in made["settings"].items():
        assert "  {} = {}".format(*setting) in list(header["HISTORY"])


def test_a_header_without_seed_and_prior():
    header = written(shear().reconstruct("kaiser_squires"))
    assert header["METHOD"] == "KaiserSquires" and header["NSAMPLES"] == 0
    assert not {"SEED", "PRIOR", "PRIORSHA"} & set(header)


def test_samples_left_out_of_a_file_are_counted():
    kappa = shear().reconstruct(Wiener(n_samples=3), progress=False)
    kappa.write("kappa.fits", samples=False)
    ConvergenceMap.read("kappa.fits").write("again.fits")
    assert fits.getheader("again.fits")["NSAMPLES"] == 3


def test_maps_without_a_method_and_shear_record_program_and_date():
    shear().write("shear.fits")
    header = fits.getheader("shear.fits")
    assert header["CREATOR"].startswith("astro_massmap") and datetime.fromisoformat(header["DATE"])
    assert "METHOD" not in written(ConvergenceMap(np.zeros(SHAPE), wcs=tan_wcs(SHAPE)))


TEXTS = st.text(st.characters(), max_size=90) | st.sampled_from(["&", "'" * 60, "é\n\x00\udcff", "x" * 300, " a & "])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@given(TEXTS)
def test_any_name_of_a_spectrum_goes_into_a_file(name):
    spectrum = PowerSpectrum([10, 1e5], [1e-8, 1e-13], name=name)
    kappa = shear().reconstruct(Wiener(spectrum, n_samples=0), progress=False)
    header, recorded = written(kappa), kappa.meta["provenance"]["prior"]["name"]
    escaped = recorded.encode("unicode_escape").decode()
    assert header.get("PRIOR", "").rstrip() == escaped.rstrip()  # trailing blanks are not significant in FITS


@given(st.dictionaries(TEXTS, JSON, max_size=3), st.sampled_from(["meta", "diagnostics"]))
@pytest.mark.slow
def test_any_meta_can_be_written_and_read(notes, place):
    written(ConvergenceMap(np.zeros((4, 4)), wcs=tan_wcs((4, 4)), **{place: notes}))


KEYS = "method", "settings", "seed", "date", "versions", "platform", "device", "prior", "input", "command", "of_input"


@given(JSON | st.fixed_dictionaries({"method": JSON}, optional=dict.fromkeys(KEYS[1:], JSON)), st.none() | JSON)
def test_other_values_in_the_place_of_a_record(record, n_samples):
    written(ConvergenceMap(np.zeros((4, 4)), wcs=tan_wcs((4, 4)), meta={"provenance": record}))
    assert all(len(card) == 3 for card in cards(record, n_samples))
