"""The command ``massmap validate``: methods on mock surveys of a catalogue, and a check of the sampler."""

import argparse
import dataclasses
from pathlib import Path

from .arguments import NETWORKS, add_galaxy_arguments, open_maps, read_catalog
from .outputs import save_figure
from .own_code import is_own_code, load, name_in, with_colon
from .values import angle, options

FIRST = ("kaiser_squires",)
LAST = ("wiener", "posterior_mean", "gaussian", "posterior_diffusion", "annealed_hmc")
# other options of a method, under a name of their own, and samples of the exact Gaussian posterior
VARIANTS = {"kaiser_squires_inpainted": ("kaiser_squires", {"inpaint": 100}), "gaussian": ("wiener", {})}


def known_methods():
    """Return the names of all methods, and of variants whose options the package has, in the order of the table."""
    from ..methods import METHODS

    kinds = {name: (METHODS[base], chosen) for name, (base, chosen) in VARIANTS.items()}
    variants = [name for name, (kind, chosen) in kinds.items() if chosen.keys() <= _options_of(kind)]
    return [name for name in dict.fromkeys([*FIRST, *variants, *METHODS, *LAST]) if name not in LAST] + [*LAST]


def _options_of(kind):
    return {field.name for field in dataclasses.fields(kind)}


def add_commands(commands):
    validate = commands.add_parser(
        "validate",
        description="Make mock surveys of simulated maps with the galaxies of a catalogue, map them by all methods, "
        "and compare the results with the truth in a table and a figure. Existing maps are kept, so the same command "
        "continues a run that was stopped. --export writes the mocks for other codes. With --gaussian, check the "
        "sampler on the mock survey of the package.",
    )
    validate.add_argument(
        "--gaussian", action="store_true", help="compare noise splitting without a network to exact draws"
    )
    validate.add_argument(
        "--n-check", type=int, default=16, metavar="N", help="chains of --gaussian (default: %(default)s)"
    )
    add_galaxy_arguments(validate, required=False)
    validate.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="folder for maps, table and figure")
    validate.add_argument("--maps", type=Path, metavar="FOLDER", help="simulated maps, as for massmap train")
    validate.add_argument("--kind", help="massivenus, kappatng or folder (default: found from the file names)")
    validate.add_argument(
        "--pixel-scale", type=angle, metavar="ANGLE", help="side of a pixel, if the files do not contain it"
    )
    validate.add_argument(
        "--z-source", type=float, default=1.0, help="source redshift of the maps (default: %(default)s)"
    )
    validate.add_argument(
        "--split", default="box", choices=("box", "realisation"), help="unit of the held-out maps (default: box)"
    )
    validate.add_argument(
        "--validation", type=float, default=0.2, help="fraction of the boxes held out (default: 0.2); 1: all maps"
    )
    validate.add_argument(
        "--mocks",
        type=int,
        default=16,
        help="number of mock surveys (default: %(default)s); if there are fewer maps, they are turned and used again",
    )
    validate.add_argument(
        "--only", type=part, metavar="FROM:TO", help="range of the mocks; the run of the last part writes the table"
    )
    validate.add_argument("--size", type=int, default=192, help="pixels on a side of the field (default: %(default)s)")
    validate.add_argument(
        "--samples", "--n-samples", type=int, default=19, help="samples of each posterior (default: %(default)s)"
    )
    validate.add_argument(
        "--methods",
        type=_names,
        metavar="A,B",
        help="default: all methods of massmap reconstruct, and gaussian, samples of the exact Gaussian posterior; "
        "FILE.py:NAME or package.module.NAME is a function of the observation, or a method, in your own code",
    )
    validate.add_argument(
        "--export", type=Path, metavar="FOLDER", help="benchmark with these mocks and maps, for massmap score"
    )
    validate.add_argument(
        "--label", default="simulations", help="name of the simulations in the benchmark (default: %(default)s)"
    )
    validate.add_argument(
        "--prior",
        default="default",
        metavar="FILE",
        help="prior of annealed_hmc, gaussian, or FILE.py:NAME, a ScoreFunction in your own code",
    )
    validate.add_argument(
        "--spectrum",
        type=Path,
        metavar="FILE",
        help="spectrum of all methods (default: that of the prior)",
    )
    validate.add_argument("--network", metavar="FILE", help="network of posterior_mean and posterior_diffusion")
    validate.add_argument("--schedule", help="for annealed_hmc: annealed (default), fast or tempered")
    validate.add_argument(
        "--seed", type=int, default=0, help="seed of the split and of the mocks (default: %(default)s)"
    )
    validate.add_argument("--device", default="auto", help="auto (default), cpu, cuda, ...")
    validate.add_argument("--quiet", action="store_true", help="no progress bar")
    validate.set_defaults(command=_validate)


def _validate(arguments):
    if arguments.gaussian:
        return _check_sampler(arguments)
    for name in ("catalog", "axes", "maps", "output"):
        if getattr(arguments, name) is None:
            option = "CATALOG" if name == "catalog" else f"--{name}"
            raise ValueError(f"{option}: needed, except with --gaussian")
    return _compare(arguments)


def _check_sampler(arguments):
    from .. import datasets
    from ..methods import AnnealedHMC
    from ..priors import GaussianPrior

    method = AnnealedHMC(GaussianPrior(), n_samples=2, seed=arguments.seed, n_check=arguments.n_check)
    check = datasets.demo().reconstruct(method, progress=False).diagnostics["gaussian_check"]
    print(f"{'ell':>8}  power divided by that of exact draws ({check['n']} each)")
    for ell, ratio, error in zip(check["ell"], check["power_ratio"], check["power_error"], strict=True):
        print(f"{ell:8.0f}  {ratio:.3f} +- {error:.3f}")
    print(f"standard deviation: {check['std_data']:.3f} with data, {check['std_holes']:.3f} without")
    print(f"largest deviation: {check['worst']:.1f} standard errors")
    if check["worst"] > 4:
        raise ValueError("the sampler differs from exact draws by more than 4 standard errors")


def _compare(arguments):
    from ..validation import MockSurveys, compare, read_mocks, run_mocks

    if arguments.samples < 2:
        raise ValueError(f"--samples: needs at least 2, got {arguments.samples}")
    methods = _methods(arguments)
    if arguments.mocks < 1:
        raise ValueError(f"--mocks: needs at least 1, got {arguments.mocks}")
    held_out = open_maps(arguments)
    if arguments.validation != 1:
        held_out = held_out.split(arguments.validation, seed=arguments.seed, by=arguments.split)[1]
    mocks = MockSurveys(read_catalog(arguments), held_out.by_turns(), size=arguments.size, seed=arguments.seed,
                        n_mocks=arguments.mocks)  # fmt: skip
    print(f"{mocks!r}\nheld-out boxes: {', '.join(sorted(set(held_out.boxes)))}")
    numbers = range(arguments.mocks)[slice(*arguments.only) if arguments.only else slice(None)]
    if not numbers:
        raise ValueError(f"--only: needs some of the mocks 0 to {arguments.mocks - 1}, got none")
    run_mocks(mocks, methods, arguments.output, numbers=numbers, progress=not arguments.quiet)
    truths, kappas = read_mocks(mocks, methods, arguments.output, numbers=range(arguments.mocks))
    if len(truths) < arguments.mocks:
        print(f"{len(truths)} of {arguments.mocks} mocks are mapped by all methods; the table needs all of them")
        return
    kappas = _with_wiener(kappas, arguments.methods)
    if arguments.export is not None:
        _export(mocks, kappas, methods["gaussian"].spectrum, arguments)
    _write(compare(truths, kappas, groups=mocks.truths, seed=arguments.seed), arguments.output)


def _export(mocks, kappas, spectrum, arguments):
    """Write the mocks to a benchmark, unless it has them, and the maps of all methods but the Wiener filter."""
    from ..theory.spectrum import PowerSpectrum
    from ..validation import Benchmark, add_maps, write_benchmark

    folder, label = arguments.export, arguments.label
    there = folder.exists() and label in Benchmark.open(folder).table["truths"]
    if not there:
        spectrum = PowerSpectrum.default() if spectrum is None else spectrum
        write_benchmark(folder, mocks, kappas["wiener"], label=label, spectrum=spectrum, progress=not arguments.quiet)
    add_maps(folder, mocks, {name: of_method for name, of_method in kappas.items() if name != "wiener"}, label=label)
    print(f"wrote {folder}")


def _with_wiener(kappas, wanted):
    """Add the Wiener filter, the mean of the Gaussian posterior, from the files of ``gaussian``."""
    wiener = [type(k)(k.data, wcs=k.wcs, mask=k.mask, uncertainty=k.uncertainty) for k in kappas["gaussian"]]
    kappas = {"wiener": wiener, **kappas}
    if wanted is not None and "gaussian" not in wanted:
        del kappas["gaussian"]
    first = [name for name in known_methods() if name in kappas]
    return {name: kappas[name] for name in dict.fromkeys([*first, *kappas])}


def _write(comparison, folder):
    from .._utils.files import atomic_path
    from ..plotting import plot_validation
    from ..validation.comparison import texts

    text = comparison.text()
    print(comparison)
    differences = comparison.differences()
    off = texts(differences, list(comparison.metrics), leave_out="wiener")
    print(
        "difference from the exact Wiener filter, with paired errors:",
        *off.pformat(max_lines=-1, max_width=-1, align="<"),
        sep="\n",
    )
    for table, name, form in (
        (comparison.table, "validation.ecsv", "ascii.ecsv"),
        (differences, "differences.ecsv", "ascii.ecsv"),
        (text, "validation.rst", "ascii.rst"),
    ):
        with atomic_path(folder / name, overwrite=True) as temporary:
            table.write(temporary, format=form)
        print(f"wrote {folder / name}")
    save_figure(plot_validation(comparison), folder / "validation.png", overwrite=True)


def _methods(arguments):
    """Return the methods with files of their own; the Wiener filter is the mean of ``gaussian``."""
    from ..methods import METHODS
    from ..priors import PosteriorNetwork
    from ..theory.spectrum import PowerSpectrum

    known = known_methods()
    wanted = arguments.methods or known
    unknown = [name for name in wanted if name not in known and not is_own_code(name)]
    if unknown:
        raise ValueError(f"--methods: need FILE.py:NAME, or some of {','.join(known)}, got {', '.join(unknown)}")
    for option, names in (("network", NETWORKS), ("schedule", ("annealed_hmc",))):
        if getattr(arguments, option) is not None and not set(names) & set(wanted):
            raise ValueError(f"--{option}: only for {' and '.join(names)}, not among the --methods")
    spectrum = None if arguments.spectrum is None else PowerSpectrum.read(arguments.spectrum)
    prior, theory = _prior(arguments.prior, spectrum)
    network = None
    if set(NETWORKS) & set(wanted):
        network = PosteriorNetwork.load(arguments.network or "default", spectrum)
    offered = {"prior": prior, "spectrum": theory, "network": network, "n_samples": arguments.samples, "n_check": 0}
    offered |= {"device": arguments.device, **options(arguments, "schedule")}
    methods = {}
    for name in known:
        if name == "gaussian" or (name in wanted and name != "wiener"):
            base, chosen = VARIANTS.get(name, (name, {}))
            taken = {key: value for key, value in offered.items() if key in _options_of(METHODS[base])}
            methods[name] = METHODS[base](**taken | chosen)
    return methods | _own_methods([name for name in wanted if is_own_code(name)])


def _prior(name, spectrum):
    """Return the prior of ``annealed_hmc``, and the spectrum of the Gaussian methods."""
    from ..priors import GaussianPrior, ScorePrior

    if name == "gaussian":
        return GaussianPrior(spectrum), spectrum
    if not is_own_code(name):
        prior = ScorePrior.load(name, spectrum)
        return prior, prior.theory
    prior = load(name, "--prior")
    theory = getattr(prior, "spectrum", None) if spectrum is None else spectrum
    if theory is None:
        raise ValueError(f"--spectrum: needed for wiener and gaussian, because the prior {name!r} has no spectrum")
    return prior, theory


def _own_methods(texts):
    """Return methods in code of the user by their name."""
    from ..methods import resolve

    methods = {}
    for text in texts:
        name = name_in(text)
        if name in (*known_methods(), "truth", *methods):
            raise ValueError(f"--methods: the name of {text!r} is that of another method; rename it")
        methods[name] = resolve(load(text, "--methods"))
    return methods


def _names(text):
    return [with_colon(name.strip()) for name in text.split(",") if name.strip()]


def part(text):
    """Parse numbers from:to, either of which may be omitted."""
    try:
        first, last = (int(part) if part else None for part in text.split(":"))
        return first, last
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers such as 0:8, got {text!r}") from None
