"""The command ``massmap validate``: methods on mock surveys of a catalogue, and a sampler against exact answers."""

import argparse
from pathlib import Path

from .arguments import add_galaxy_arguments, angle, open_maps, options, read_catalog, save_figure

METHODS = "kaiser_squires,wiener,posterior_mean,gaussian,annealed_hmc"


def add_commands(commands):
    """Add it to the subparsers of ``massmap``."""
    validate = commands.add_parser(
        "validate",
        description="Put simulated maps in front of the galaxies of a catalogue, map them by all methods, and compare "
        "with the truths: a table and a figure. Maps that are there already are kept: a run that was stopped goes on. "
        "With --gaussian, check the sampler on the embedded mock survey instead.",
    )
    validate.add_argument(
        "--gaussian", action="store_true", help="noise splitting without a network against exact draws"
    )
    validate.add_argument(
        "--n-check", type=int, default=16, metavar="N", help="chains of --gaussian (default: %(default)s)"
    )
    add_galaxy_arguments(validate, required=False)
    validate.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="for maps, table and figure")
    validate.add_argument("--maps", type=Path, metavar="FOLDER", help="simulated maps, as for massmap train")
    validate.add_argument("--kind", help="massivenus, kappatng or folder (default: recognised)")
    validate.add_argument("--pixel-scale", type=angle, metavar="ANGLE", help="of the maps, where files do not say it")
    validate.add_argument("--z-source", type=float, default=1.0, help="of the maps (default: %(default)s)")
    validate.add_argument("--split", default="box", choices=("box", "realisation"), help="by what maps were held out")
    validate.add_argument("--validation", type=float, default=0.2, help="share of the boxes held out (default: 0.2)")
    validate.add_argument("--mocks", type=int, default=16, help="of different maps (default: %(default)s)")
    validate.add_argument("--only", type=_part, metavar="FROM:TO", help="of the mocks; the table comes with the last")
    validate.add_argument("--size", type=int, default=192, help="pixels on a side of the field (default: %(default)s)")
    validate.add_argument("--samples", type=int, default=19, help="of each posterior (default: %(default)s)")
    validate.add_argument("--methods", type=_names, metavar="A,B", help=f"default: {METHODS}")
    validate.add_argument("--prior", default="default", metavar="FILE", help="of annealed_hmc, or gaussian")
    validate.add_argument(
        "--spectrum", type=Path, metavar="FILE", help="of wiener and gaussian (default: that of the prior)"
    )
    validate.add_argument("--network", metavar="FILE", help="of posterior_mean (default: the one shipped)")
    validate.add_argument("--schedule", help="of annealed_hmc: annealed (default), fast or tempered")
    validate.add_argument("--seed", type=int, default=0, help="of the split and of the mocks (default: %(default)s)")
    validate.add_argument("--device", default="auto", help="auto (default), cpu, cuda, ...")
    validate.add_argument("--quiet", action="store_true", help="no progress bar")
    validate.set_defaults(command=_validate)


def _validate(arguments):
    if arguments.gaussian:
        return _check_sampler(arguments)
    for name in ("catalog", "axes", "maps", "output"):
        if getattr(arguments, name) is None:
            option = "CATALOG" if name == "catalog" else f"--{name}"
            raise ValueError(f"{option}: is needed, unless the sampler is to be checked by --gaussian")
    return _compare(arguments)


def _check_sampler(arguments):
    from .. import datasets
    from ..methods import AnnealedHMC
    from ..priors import GaussianPrior

    method = AnnealedHMC(GaussianPrior(), n_samples=2, seed=arguments.seed, n_check=arguments.n_check)
    check = datasets.demo().reconstruct(method, progress=False).diagnostics["gaussian_check"]
    print(f"{'ell':>8}  power over that of exact draws ({check['n']} each)")
    for ell, ratio, error in zip(check["ell"], check["power_ratio"], check["power_error"], strict=True):
        print(f"{ell:8.0f}  {ratio:.3f} +- {error:.3f}")
    print(f"standard deviation: {check['std_data']:.3f} with data, {check['std_holes']:.3f} without")
    print(f"largest deviation: {check['worst']:.1f} standard errors")
    if check["worst"] > 4:
        raise ValueError("the sampler is off by more than 4 standard errors")


def _compare(arguments):
    from ..validation.mock_surveys import MockSurveys, compare, read_mocks, run_mocks

    if arguments.samples < 2:
        raise ValueError(f"--samples: needs at least 2, got {arguments.samples}")
    methods = _methods(arguments)
    held_out = open_maps(arguments).split(arguments.validation, seed=arguments.seed, by=arguments.split)[1].by_turns()
    if not 1 <= arguments.mocks <= len(held_out):
        raise ValueError(f"--mocks: needs 1 to {len(held_out)}, as many as held-out maps, got {arguments.mocks}")
    mocks = MockSurveys(read_catalog(arguments), held_out, size=arguments.size, seed=arguments.seed)
    print(f"{mocks!r}\nheld-out boxes: {', '.join(sorted(set(held_out.boxes)))}")
    numbers = range(arguments.mocks)[slice(*arguments.only) if arguments.only else slice(None)]
    if not numbers:
        raise ValueError(f"--only: there are mocks 0 to {arguments.mocks - 1}, none of them is in this part")
    run_mocks(mocks, methods, arguments.output, numbers=numbers, progress=not arguments.quiet)
    truths, kappas = read_mocks(mocks, methods, arguments.output, numbers=range(arguments.mocks))
    if len(truths) < arguments.mocks:
        print(f"{len(truths)} of {arguments.mocks} mocks are mapped by all methods: no table yet")
        return
    _write(compare(truths, _with_wiener(kappas, arguments.methods), seed=arguments.seed), arguments.output)


def _with_wiener(kappas, wanted):
    """The Wiener filter, which is the mean of the Gaussian posterior, in the place of the files that hold both."""
    wiener = [type(k)(k.data, wcs=k.wcs, mask=k.mask, uncertainty=k.uncertainty) for k in kappas["gaussian"]]
    kappas = {"wiener": wiener, **kappas}
    if wanted is not None and "gaussian" not in wanted:
        del kappas["gaussian"]
    order = METHODS.split(",")
    return {name: kappas[name] for name in sorted(kappas, key=order.index)}


def _write(comparison, folder):
    """The table in numbers and as text, and the figure."""
    from .._utils.files import atomic_path
    from ..plotting import plot_validation

    text = comparison.text()
    print("\n".join(text.pformat(max_lines=-1, max_width=-1, align="<")))
    for table, name, form in (
        (comparison.table, "validation.ecsv", "ascii.ecsv"),
        (text, "validation.rst", "ascii.rst"),
    ):
        with atomic_path(folder / name, overwrite=True) as temporary:
            table.write(temporary, format=form)
        print(f"wrote {folder / name}")
    save_figure(plot_validation(comparison), folder / "validation.png", overwrite=True)


def _methods(arguments):
    """The methods that have files of their own: the Wiener filter is the mean of ``gaussian``."""
    from ..methods import AnnealedHMC, KaiserSquires, PosteriorMean, Wiener
    from ..priors import GaussianPrior, MeanNetwork, ScorePrior
    from ..theory.spectrum import PowerSpectrum

    wanted, device = arguments.methods or METHODS.split(","), arguments.device
    unknown = [name for name in wanted if name not in METHODS.split(",")]
    if unknown:
        raise ValueError(f"--methods: {', '.join(unknown)} unknown; known are {METHODS}")
    for option, name in (("network", "posterior_mean"), ("schedule", "annealed_hmc")):
        if getattr(arguments, option) is not None and name not in wanted:
            raise ValueError(f"--{option}: is of {name}, which is not among the --methods")
    spectrum = None if arguments.spectrum is None else PowerSpectrum.read(arguments.spectrum)
    gaussian = arguments.prior == "gaussian"
    prior = GaussianPrior(spectrum) if gaussian else ScorePrior.load(arguments.prior, spectrum)
    theory = spectrum if gaussian else prior.theory
    sampled = {"n_samples": arguments.samples, "device": device}
    methods = {}
    if "kaiser_squires" in wanted:
        methods["kaiser_squires"] = KaiserSquires(device=device)
    if "posterior_mean" in wanted:
        methods["posterior_mean"] = PosteriorMean(MeanNetwork.load(arguments.network or "default"), device=device)
    methods["gaussian"] = Wiener(theory, **sampled)
    if "annealed_hmc" in wanted:
        methods["annealed_hmc"] = AnnealedHMC(prior, n_check=0, **sampled, **options(arguments, "schedule"))
    return methods


def _names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


def _part(text):
    """Numbers from:to, either of which may be left out."""
    try:
        first, last = (int(part) if part else None for part in text.split(":"))
        return first, last
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers such as 0:8, got {text!r}") from None
