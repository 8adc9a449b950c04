"""The commands ``massmap spectrum``, ``simulate`` and ``train``."""

from pathlib import Path

import numpy as np

from .arguments import open_maps
from .outputs import show_table
from .sources import add_sources_argument, computed_spectrum
from .values import angle, numbers, table_file

_NOISE = (0.3, 60.0)  # of noisy maps, in units of the standard deviation of a pixel, for a network of the posterior


def add_commands(commands):
    _add_spectrum(commands)
    _add_simulate(commands)
    _add_train(commands)


def _add_simulate(commands):
    simulate = commands.add_parser(
        "simulate",
        description="Simulate light cones and write calibrated convergence maps, a FITS cube for each box. "
        "Existing boxes are kept, so the same command continues a run that was stopped.",
    )
    simulate.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder for boxes and maps"
    )
    simulate.add_argument(
        "--boxes", type=int, default=8, help="number of independent simulations (default: %(default)s)"
    )
    simulate.add_argument(
        "--particles", type=int, default=192, help="particles on a side of a box (default: %(default)s)"
    )
    simulate.add_argument("--box-size", type=float, default=128.0, help="side of a box in Mpc/h (default: %(default)s)")
    simulate.add_argument("--maps", type=int, default=64, help="maps of each box (default: %(default)s)")
    simulate.add_argument("--size", type=int, default=384, help="pixels on a side of a map (default: %(default)s)")
    simulate.add_argument("--pixel-scale", type=angle, metavar="ANGLE", help="side of a pixel (default: '0.4 arcmin')")
    simulate.add_argument("--z-source", type=float, default=1.0, help="redshift of the sources (default: %(default)s)")
    simulate.add_argument("--n-z", type=Path, metavar="FILE", help="redshift distribution instead: table of z and n")
    simulate.add_argument("--lognormal", action="store_true", help="lognormal maps instead: faster, without filaments")
    simulate.add_argument("--seed", type=int, default=0, help="seed of the first box (default: %(default)s)")
    simulate.add_argument("--device", default="auto", help="auto (default), cpu, cuda, ...")
    simulate.add_argument("--quiet", action="store_true", help="no progress bar")
    simulate.set_defaults(command=_simulate)


def _add_train(commands):
    train = commands.add_parser(
        "train",
        description="Train a score prior on convergence maps of massmap simulate, MassiveNuS, kappaTNG, or any "
        "folder of maps. With --checkpoint, the same command continues a run that was stopped. torchrun starts several "
        "workers.",
    )
    train.add_argument("-o", "--output", type=Path, required=True, help="file for the prior (.safetensors)")
    train.add_argument("--maps", type=Path, required=True, metavar="FOLDER", help="training maps")
    train.add_argument(
        "--spectrum", type=Path, required=True, metavar="FILE", help="spectrum of the maps: table of ell and cl"
    )
    train.add_argument("--kind", help="massivenus, kappatng or folder (default: found from the file names)")
    train.add_argument(
        "--pixel-scale", type=angle, metavar="ANGLE", help="side of a pixel, if the files do not contain it"
    )
    train.add_argument("--z-source", type=float, default=1.0, help="source redshift of the maps (default: %(default)s)")
    train.add_argument("--validation", type=float, default=0.2, help="fraction of the boxes held out (default: 0.2)")
    train.add_argument(
        "--split", default="box", choices=("box", "realisation"), help="unit of the held-out maps (default: box)"
    )
    train.add_argument("--steps", type=int, default=4000, help="steps of the optimiser (default: %(default)s)")
    train.add_argument("--widths", default="16,32,64", help="channels at the three scales (default: %(default)s)")
    train.add_argument("--size", type=int, default=96, help="side of a cutout in pixels (default: %(default)s)")
    train.add_argument(
        "--margin", type=int, default=48, help="width of the excluded edge in pixels (default: %(default)s)"
    )
    train.add_argument(
        "--maps-per-step", type=int, default=4, help="maps per step, with two cutouts of each (default: %(default)s)"
    )
    train.add_argument(
        "--validate-every", type=int, default=500, help="steps between validations (default: %(default)s)"
    )
    train.add_argument(
        "--corrections", type=int, default=200, help="maps for the correction of the power (default: 200)"
    )
    train.add_argument(
        "--posterior",
        action="store_true",
        help="train a network of the posterior instead, for posterior_diffusion and posterior_mean",
    )
    train.add_argument(
        "--footprint",
        type=Path,
        nargs="+",
        default=[],
        metavar="MAP",
        help="maps of your survey, with these pixels: half of the training has their gaps (with --posterior)",
    )
    train.add_argument(
        "--without-theory", action="store_true", help="network without the Gaussian component, for comparison"
    )
    train.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="file of the state; the same command continues from it"
    )
    train.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default: %(default)s)")
    train.add_argument("--device", default="auto", help="auto (default), cpu, cuda, ...")
    train.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.set_defaults(command=_train)


def _pixel_size(arguments):
    import astropy.units as u

    return (0.4 * u.arcmin if arguments.pixel_scale is None else arguments.pixel_scale).to_value(u.rad)


def _sources(arguments):
    """Return the redshifts of the sources as keywords of simulations, the largest one, and the spectrum."""
    from ..theory.source_redshifts import read_n_z
    from ..theory.spectrum import PowerSpectrum

    plane = arguments.n_z is None
    n_z = read_n_z(arguments.z_source, "z_source") if plane else read_n_z(arguments.n_z, "n_z")
    sources = {"redshift": arguments.z_source} if plane else {"n_z": n_z}
    return sources, n_z.farthest, PowerSpectrum.from_n_z(n_z)


def _simulate(arguments):
    from ..inference import pick_device
    from ..simulation import Cosmology, NBody, calibrate, simulate_boxes, write_maps, write_tables

    for name in ("boxes", "maps", "size"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name}: needs to be positive, got {getattr(arguments, name)}")
    sources, z_max, spectrum = _sources(arguments)
    folder, shape, pixel_size = arguments.output, (arguments.size, arguments.size), _pixel_size(arguments)
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.lognormal:
        return _simulate_lognormal(arguments, spectrum, shape, pixel_size)
    cosmology = Cosmology.default()
    device = str(pick_device(arguments.device))
    simulation = NBody(arguments.particles, arguments.box_size, cosmology, device=device)
    print(
        f"{arguments.boxes} boxes of {arguments.particles}^3 particles, {simulation.memory / 2**30:.1f} GiB of memory"
    )
    boxes = simulate_boxes(
        folder, simulation, arguments.boxes, seed=arguments.seed, z_max=z_max, progress=not arguments.quiet
    )
    look = {"redshift": None, "n_z": None} | sources | {"seed": arguments.seed}
    transfer, report = calibrate(boxes, cosmology, spectrum, shape, pixel_size, **look)
    write_tables(folder, spectrum, transfer, report)
    maps = write_maps(folder, boxes, cosmology, transfer, arguments.maps, shape, pixel_size, **look)
    print(f"power of boxes {report.judged} over the declared spectrum, filter fitted on boxes {report.fitted}:")
    for ell, ratio, error in zip(report.ell, report.calibrated, report.error, strict=True):
        if np.isfinite(ratio):
            print(f"{ell:8.0f}  {ratio:.3f} +- {error:.3f}")
    print(f"wrote {len(maps)} files of {arguments.maps} maps, spectrum.ecsv, transfer.ecsv and report.ecsv to {folder}")
    return None


def _simulate_lognormal(arguments, spectrum, shape, pixel_size):
    from ..simulation import lognormal_maps
    from ..simulation.calibration import declared_spectrum
    from ..simulation.training_set import save_spectrum, write_cube

    declared = declared_spectrum(spectrum)
    for i in range(arguments.boxes):
        target = arguments.output / f"maps_{i:04d}.fits"
        if not target.exists():
            seed = arguments.seed + i
            maps = lognormal_maps(declared, arguments.maps, shape, pixel_size, seed=seed)
            write_cube(target, maps.numpy(), pixel_size, {"model": "lognormal, shift 0.03", "seed": seed})
    save_spectrum(arguments.output, spectrum)
    print(f"wrote {arguments.boxes} files of {arguments.maps} lognormal maps and spectrum.ecsv to {arguments.output}")


def _train(arguments):
    from .._utils.files import check_target
    from ..inference import pick_device
    from ..theory.spectrum import PowerSpectrum
    from ..training import MapBank, TrainingPlan, start_workers, train_posterior, train_prior, write_curves

    if arguments.posterior and arguments.without_theory:
        raise ValueError("--without-theory: cannot be combined with --posterior")
    if arguments.footprint and not arguments.posterior:
        raise ValueError("--footprint: needs --posterior")
    if arguments.output.suffix != ".safetensors":
        raise ValueError(f"--output: needs the extension .safetensors, got {str(arguments.output)!r}")
    stem = arguments.output.with_suffix("")
    for target in (arguments.output, *(stem.with_name(f"{stem.name}.{ending}") for ending in ("csv", "png"))):
        check_target(target, overwrite=arguments.overwrite)
    if arguments.corrections < 0:
        raise ValueError(f"--corrections: needs a number of maps, zero or more, got {arguments.corrections}")
    widths = _widths(arguments.widths)
    spectrum = PowerSpectrum.read(arguments.spectrum)
    maps = open_maps(arguments)
    parts = maps.split(arguments.validation, seed=arguments.seed, by=arguments.split)
    print(f"{len(parts[0])} training maps, {len(parts[1])} validation maps from {len(set(parts[1].boxes))} other boxes")
    training, validation = (MapBank(part.stack(), part.pixel_size) for part in (part.by_turns() for part in parts))
    plan = TrainingPlan(
        steps=arguments.steps,
        maps_per_step=arguments.maps_per_step,
        size=arguments.size,
        margin=arguments.margin,
        validate_every=arguments.validate_every,
        seed=arguments.seed,
        **({"sigma": _NOISE} if arguments.posterior else {}),
    )
    if arguments.posterior:
        train, more = train_posterior, {"footprints": _footprints(arguments, maps)}
    else:
        train = train_prior
        more = {"theory": not arguments.without_theory, "n_correction": arguments.corrections}
    trained, history = train(
        training,
        validation,
        spectrum,
        plan,
        widths=widths,
        card=_card(arguments, maps, spectrum),
        checkpoint=arguments.checkpoint,
        device=str(start_workers(pick_device(arguments.device))),
        progress=not arguments.quiet,
        **more,
    )
    if history:  # the first of several workers
        trained.save(arguments.output, overwrite=arguments.overwrite)
        write_curves(history, stem)
        key, noise = ("error_ratio", "noise / signal") if arguments.posterior else ("denoising_ratio", "noise")
        for level, ratio in trained.card[key].items():
            print(f"{noise} {level}: mean squared error {ratio:.3f} of that of the Gaussian component alone")
        print(f"wrote {arguments.output}")


def _footprints(arguments, maps):
    """Return where the maps of a survey have data, for maps with the pixels of the training."""
    from ..maps.convergence_map import ConvergenceMap

    found = []
    for file in arguments.footprint:
        kappa = ConvergenceMap.read(file, format="fits")
        own, needed = kappa.pixel_scale.to_value("arcmin").mean(), np.degrees(maps.pixel_size) * 60
        if abs(own / needed - 1) > 0.02:
            raise ValueError(
                f"--footprint: {file} has pixels of {own:.3g} arcmin, the maps of {needed:.3g}; reproject it"
            )
        found.append(~kappa.mask)
    return found


def _widths(text):
    try:
        widths = tuple(int(w) for w in text.split(","))
        if len(widths) != 3 or min(widths) < 1:
            raise ValueError
    except ValueError:
        raise ValueError(f"--widths: needs three positive numbers such as 16,32,64, got {text!r}") from None
    return widths


def _card(arguments, maps, spectrum):
    return {
        "source_redshift": arguments.z_source,
        "maps": f"{arguments.maps.name}, {maps.kind}, {len(set(maps.boxes))} boxes, seed of the split {arguments.seed}",
        "spectrum": spectrum.name,
        "resolution": _resolution(arguments.spectrum),
    }


def _resolution(file):
    """Return multipole and slope of the resolution of the maps from the table of the spectrum, or None."""
    from .._io.columns import read_table

    return read_table(file, "--spectrum").meta.get("resolution")


def _add_spectrum(commands):
    spectrum = commands.add_parser(
        "spectrum",
        description="Compute the convergence power spectrum for given source redshifts, and print or write it as a "
        "table of ell and cl, for example for --spectrum of other commands. Other cosmologies than the default need "
        "camb.",
    )
    add_sources_argument(spectrum)
    spectrum.add_argument(
        "--ell", type=numbers, metavar="100,1000,...", help="multipoles (default: 128 from 10 to 100000)"
    )
    spectrum.add_argument("-o", "--output", type=table_file, metavar="FILE", help="write the table (ECSV, FITS, ...)")
    spectrum.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    spectrum.set_defaults(command=_spectrum)


def _spectrum(arguments):
    from .._utils.files import check_target
    from ..theory.source_redshifts import read_n_z

    if arguments.output is not None:
        check_target(arguments.output, overwrite=arguments.overwrite)
    sources = read_n_z(arguments.sources, "sources", column=arguments.source_bin)
    show_table(computed_spectrum(arguments, sources, arguments.ell).to_table(), arguments)
