"""Options of the cosmology, of the source redshifts and of tomographic bins."""

from pathlib import Path

AS, N_S = 2.1e-9, 0.97  # of PowerSpectrum.default
INFER = "infer"  # value of --spectrum; a file of this name is ./infer
_ONE_OF = "z_source, n_z: give one of them, the redshift of a source plane or a distribution"
_MODEL = {
    "omega_m": ("density of matter, instead of --cosmology", 0.3),
    "omega_b": ("density of baryons", 0.05),
    "h": ("Hubble constant in 100 km / s / Mpc", 0.7),
}
MODEL_OPTIONS = ("cosmology", *_MODEL, "sigma8", "As", "n_s")  # with none of them, the default cosmology


def add_spectrum_arguments(parser):
    """Add the options of the prior spectrum: a table, or n(z) and a cosmology."""
    parser.add_argument("--spectrum", type=file_or_infer, metavar="FILE", help="prior spectrum: table of ell and cl; "
                        "or infer, for wiener: inferred with the map, relative to that of the sources")  # fmt: skip
    parser.add_argument("--n-z", type=Path, metavar="FILE", help="redshift distribution of the sources, from which the "
                        "prior spectrum is computed: table of z and n, SACC file, or redshifts")  # fmt: skip
    _add_bin(parser)
    _add_model_arguments(parser)


def add_sources_argument(parser):
    """Add the redshifts of the sources as a positional argument, and the cosmology of a spectrum."""
    parser.add_argument("sources", metavar="SOURCES", help="redshift of all sources, or a file with their redshift "
                        "distribution or redshifts: table, SACC file or catalogue")  # fmt: skip
    _add_bin(parser, "--column")
    _add_model_arguments(parser)


def _add_model_arguments(parser):
    add_cosmology_argument(parser, "for the spectrum (default: that of the default spectrum)")
    for name, (text, value) in _MODEL.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, help=f"{text} (default: {value:g})")
    parser.add_argument("--sigma8", type=float, help="amplitude of the fluctuations, instead of --As")
    parser.add_argument("--As", "--as", type=float, help=f"primordial amplitude at 0.05 / Mpc (default: {AS:g})")
    parser.add_argument("--n-s", type=float, metavar="N", help=f"spectral index (default: {N_S:g})")


def _add_bin(parser, *aliases):
    parser.add_argument("--source-bin", *aliases, metavar="NAME", help="column or tracer of a file with several n(z)")


def add_bins_argument(parser):
    parser.add_argument(
        "--bins",
        metavar="COLUMN",
        help="maps of tomographic bins and of all galaxies in them: column of bin numbers, or edges of the bins in "
        "redshift, such as 0.2,0.5,0.8; --n-z is then a table with a column for each bin, such as bin1",
    )


def edges_or_column(arguments):
    """Return the edges of ``--bins`` in redshift or None, and its column of bin numbers as ``columns``."""
    if arguments.bins is None:
        return None, {}
    try:
        return [float(part) for part in arguments.bins.split(",")], {}
    except ValueError:
        return None, {} if arguments.bins == "tomo" else {"tomo": arguments.bins}


def check_bins_arguments(arguments):
    """Raise ValueError for options of the spectrum that do not apply to ``--bins``."""
    for name in ("z_source", "source_bin", *MODEL_OPTIONS):
        if getattr(arguments, name, None) is not None:
            option = name.replace("_", "-")
            raise ValueError(f"--{option}: not with --bins; give --n-z with a column for each bin, such as bin1")


def add_cosmology_argument(parser, purpose):
    parser.add_argument("--cosmology", metavar="NAME", help=f"cosmology of astropy such as Planck18, {purpose}")


def add_z_source_argument(parser, help_text, *, source_bin=True):
    """Add ``--z-source``, one redshift or n(z), and ``--source-bin`` if no other function adds it."""
    parser.add_argument("--z-source", type=number_or_name, metavar="Z", help=f"{help_text}, or a file of n(z)")
    if source_bin:
        _add_bin(parser)


def file_or_infer(text):
    """Return the name of a file, or 'infer'."""
    return text if text == INFER else Path(text)


def number_or_name(text):
    """Parse a number, or else the name of a file or column."""
    try:
        return float(text)
    except ValueError:
        return text


def z_source_of(arguments):
    """Return the redshifts of the sources: a number, n(z), or None."""
    from ..theory.source_redshifts import read_n_z

    if not isinstance(arguments.z_source, str):
        return arguments.z_source
    return read_n_z(arguments.z_source, "z_source", column=arguments.source_bin)


def cosmology_of(arguments):
    import astropy.cosmology

    if arguments.cosmology is None:
        return None
    known = astropy.cosmology.available
    if arguments.cosmology not in known:
        raise ValueError(f"cosmology: needs one of {', '.join(known)}, got {arguments.cosmology!r}")
    return getattr(astropy.cosmology, arguments.cosmology)


def read_n_z_argument(arguments, redshift=None):
    """Return n(z) as redshifts and densities from ``--n-z`` or the redshift of a plane, or None."""
    from ..maps.n_z import as_n_z
    from ..theory.source_redshifts import read_n_z

    if arguments.n_z is None:
        return None if redshift is None else as_n_z(read_n_z(redshift, "z_source"))
    if redshift is not None:
        raise ValueError(_ONE_OF)
    return as_n_z(read_n_z(arguments.n_z, "n_z", column=arguments.source_bin))


def read_spectrum(arguments, redshift=None):
    """Return the spectrum of ``--spectrum``, ``--n-z`` or the redshift of a source plane, or None."""
    from ..theory.source_redshifts import read_n_z

    if arguments.n_z is not None or redshift is not None:
        if arguments.spectrum not in (None, INFER):
            raise ValueError("spectrum, n_z: give one of them, a spectrum or the redshifts from which it is computed")
        if redshift is not None and arguments.n_z is not None:
            raise ValueError(_ONE_OF)
        source, name = (redshift, "z_source") if arguments.n_z is None else (arguments.n_z, "n_z")
        return computed_spectrum(arguments, read_n_z(source, name, column=arguments.source_bin))
    for name in ("source_bin", *MODEL_OPTIONS):
        of_z_source = name == "source_bin" and isinstance(getattr(arguments, "z_source", None), str)
        if getattr(arguments, name) is not None and not of_z_source:
            raise ValueError(f"{name}: needs --n-z, the redshift distribution for the spectrum")
    return read_table_of_spectrum(arguments)


def read_table_of_spectrum(arguments):
    """Return the spectrum of ``--spectrum``, or None."""
    from ..theory.spectrum import PowerSpectrum

    return None if arguments.spectrum in (None, INFER) else PowerSpectrum.read(arguments.spectrum)


def computed_spectrum(arguments, sources, ell=None):
    """Return the spectrum of `Sources` in the given cosmology; camb is needed unless it is the default one."""
    from ..theory.spectrum import PowerSpectrum

    if all(getattr(arguments, name) is None for name in MODEL_OPTIONS):
        return PowerSpectrum.from_n_z(sources, ell=ell)
    cosmology, amplitude, n_s = cosmology_of(arguments), {"sigma8": arguments.sigma8, "As": arguments.As}, arguments.n_s
    if cosmology is None:
        cosmology, n_s = _cosmology_of_numbers(arguments), N_S if n_s is None else n_s
        if amplitude == {"sigma8": None, "As": None}:
            amplitude["As"] = AS
    elif any(getattr(arguments, name) is not None for name in _MODEL):
        raise ValueError("cosmology: contains the densities and h; leave --omega-m, --omega-b and --h out")
    elif n_s is None or amplitude == {"sigma8": None, "As": None}:
        raise ValueError("cosmology: needs --n-s and one of --sigma8 and --As, which astropy does not contain")
    return PowerSpectrum.from_cosmology(cosmology, n_z=sources, n_s=n_s, **amplitude, ell=ell)


def _cosmology_of_numbers(arguments):
    from astropy.cosmology import FlatLambdaCDM

    given = {name: getattr(arguments, name) for name in _MODEL}
    omega_m, omega_b, h = (_MODEL[name][1] if value is None else value for name, value in given.items())
    if not 0 < omega_b < omega_m <= 1:
        raise ValueError(f"omega_m, omega_b: need 0 < omega_b < omega_m <= 1, got {omega_m:g} and {omega_b:g}")
    if not 0.2 < h < 2:
        raise ValueError(f"h: needs the Hubble constant in 100 km / s / Mpc, such as 0.7, got {h:g}")
    name = f"Om0 {omega_m:g}, Ob0 {omega_b:g}, h {h:g}"
    return FlatLambdaCDM(100 * h, omega_m, Ob0=omega_b, Tcmb0=2.7255, m_nu=0, name=name)
