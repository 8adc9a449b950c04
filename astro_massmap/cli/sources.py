"""Options of the cosmology and of the redshifts of the sources."""

from pathlib import Path

_AS, _N_S = 2.1e-9, 0.97  # of PowerSpectrum.default


def add_spectrum_arguments(parser):
    """The prior spectrum, from a table or from n(z)."""
    parser.add_argument("--spectrum", type=Path, metavar="FILE", help="prior spectrum: table of ell and cl")
    add_n_z_arguments(parser)


def add_n_z_arguments(parser):
    """The sources of a spectrum, and its cosmology."""
    parser.add_argument("--n-z", type=Path, metavar="FILE", help="redshift distribution of the sources, of which the "
                        "prior spectrum is computed: table of z and n, SACC file, or redshifts")  # fmt: skip
    _add_bin(parser)
    add_cosmology_argument(parser, "the spectrum (default: that of the default spectrum)")
    parser.add_argument("--sigma8", type=float, help="amplitude of the fluctuations; this or --As")
    parser.add_argument("--As", type=float, help=f"primordial amplitude at 0.05 / Mpc (default: {_AS:g})")
    parser.add_argument("--n-s", type=float, metavar="N", help=f"spectral index (default: {_N_S:g})")


def _add_bin(parser):
    if "--source-bin" not in parser.format_usage():
        parser.add_argument("--source-bin", metavar="NAME", help="column or tracer, where a file has several n(z)")


def add_cosmology_argument(parser, of):
    """The cosmology, by its name in astropy."""
    parser.add_argument("--cosmology", metavar="NAME", help=f"Planck18 or another one of astropy, of {of}")


def add_z_source_argument(parser, help_text, *, required=False):
    """One redshift, or n(z)."""
    parser.add_argument(
        "--z-source", type=number_or_name, required=required, metavar="Z", help=f"{help_text}, or a file of n(z)"
    )
    _add_bin(parser)


def number_or_name(text):
    """A number, or else the name of a file or a column."""
    try:
        return float(text)
    except ValueError:
        return text


def z_source_of(arguments):
    """The redshifts of the sources: a number, n(z), or None."""
    from ..theory.source_redshifts import read_n_z

    if not isinstance(arguments.z_source, str):
        return arguments.z_source
    return read_n_z(arguments.z_source, "z_source", column=arguments.source_bin)


def cosmology_of(arguments):
    """The cosmology of the given name, or None."""
    import astropy.cosmology

    if arguments.cosmology is None:
        return None
    known = astropy.cosmology.available
    if arguments.cosmology not in known:
        raise ValueError(f"cosmology: {arguments.cosmology!r} is unknown; astropy has {', '.join(known)}")
    return getattr(astropy.cosmology, arguments.cosmology)


def read_spectrum(arguments):
    """The spectrum of ``--spectrum`` or of ``--n-z``, or None."""
    from ..theory.spectrum import PowerSpectrum

    if arguments.n_z is not None:
        if arguments.spectrum is not None:
            raise ValueError("spectrum, n_z: give one of them, a spectrum or the sources of which it is computed")
        return computed_spectrum(arguments)
    for name in ("source_bin", "cosmology", "sigma8", "As", "n_s"):
        if getattr(arguments, name) is not None and not (name == "source_bin" and hasattr(arguments, "z_source")):
            raise ValueError(f"{name}: only together with --n-z, the sources of the spectrum")
    return None if arguments.spectrum is None else PowerSpectrum.read(arguments.spectrum)


def computed_spectrum(arguments, **options):
    """The spectrum of the cosmology and the sources of the arguments."""
    from astropy.cosmology import FlatLambdaCDM

    from ..theory.source_redshifts import read_n_z
    from ..theory.spectrum import PowerSpectrum

    cosmology, amplitude, n_s = cosmology_of(arguments), {"sigma8": arguments.sigma8, "As": arguments.As}, arguments.n_s
    if cosmology is None:
        cosmology, n_s = FlatLambdaCDM(70, 0.3, Ob0=0.05, name="default cosmology"), _N_S if n_s is None else n_s
        if amplitude == {"sigma8": None, "As": None}:
            amplitude["As"] = _AS
    elif n_s is None or amplitude == {"sigma8": None, "As": None}:
        raise ValueError("cosmology: needs --n-s, and --sigma8 or --As, which cosmologies of astropy do not contain")
    if arguments.n_z is not None:
        options["n_z"] = read_n_z(arguments.n_z, "n_z", column=arguments.source_bin)
    return PowerSpectrum.from_cosmology(cosmology, n_s=n_s, **amplitude, **options)
