"""Options of the cosmology and of the source redshifts."""

from pathlib import Path

AS, N_S = 2.1e-9, 0.97  # of PowerSpectrum.default


def add_spectrum_arguments(parser):
    """Add the options of the prior spectrum: a table, or n(z) and a cosmology."""
    parser.add_argument("--spectrum", type=Path, metavar="FILE", help="prior spectrum: table of ell and cl")
    add_n_z_arguments(parser)


def add_n_z_arguments(parser):
    """Add the redshifts of the sources and the cosmology of a spectrum."""
    parser.add_argument("--n-z", type=Path, metavar="FILE", help="redshift distribution of the sources, from which the "
                        "prior spectrum is computed: table of z and n, SACC file, or redshifts")  # fmt: skip
    _add_bin(parser)
    add_cosmology_argument(parser, "for the spectrum (default: that of the default spectrum)")
    parser.add_argument("--sigma8", type=float, help="amplitude of the fluctuations, instead of --As")
    parser.add_argument("--As", type=float, help=f"primordial amplitude at 0.05 / Mpc (default: {AS:g})")
    parser.add_argument("--n-s", type=float, metavar="N", help=f"spectral index (default: {N_S:g})")


def _add_bin(parser):
    parser.add_argument("--source-bin", metavar="NAME", help="column or tracer of a file with several n(z)")


def add_cosmology_argument(parser, purpose):
    parser.add_argument("--cosmology", metavar="NAME", help=f"cosmology of astropy such as Planck18, {purpose}")


def add_z_source_argument(parser, help_text, *, required=False, source_bin=True):
    """Add ``--z-source``, one redshift or n(z), and ``--source-bin`` if no other function adds it."""
    parser.add_argument(
        "--z-source", type=number_or_name, required=required, metavar="Z", help=f"{help_text}, or a file of n(z)"
    )
    if source_bin:
        _add_bin(parser)


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
        return as_n_z(redshift)
    if redshift is not None:
        raise ValueError("z_source, n_z: give one of them, the redshift of a source plane or a distribution")
    return as_n_z(read_n_z(arguments.n_z, "n_z", column=arguments.source_bin))


def read_spectrum(arguments, redshift=None):
    """Return the spectrum of ``--spectrum``, ``--n-z`` or the redshift of a source plane, or None."""
    from ..theory.spectrum import PowerSpectrum

    cosmology = [name for name in ("cosmology", "sigma8", "As", "n_s") if getattr(arguments, name) is not None]
    if arguments.n_z is not None or redshift is not None:
        if arguments.spectrum is not None:
            raise ValueError("spectrum, n_z: give one of them, a spectrum or the redshifts from which it is computed")
        if not cosmology:
            return PowerSpectrum.from_n_z(*read_n_z_argument(arguments, redshift))
        return computed_spectrum(arguments, **({} if redshift is None else {"redshift": redshift}))
    for name in ("source_bin", *cosmology):
        of_z_source = name == "source_bin" and isinstance(getattr(arguments, "z_source", None), str)
        if getattr(arguments, name) is not None and not of_z_source:
            raise ValueError(f"{name}: needs --n-z, the redshift distribution for the spectrum")
    return read_table_of_spectrum(arguments)


def read_table_of_spectrum(arguments):
    """Return the spectrum of ``--spectrum``, or None."""
    from ..theory.spectrum import PowerSpectrum

    return None if arguments.spectrum is None else PowerSpectrum.read(arguments.spectrum)


def default_cosmology():
    """Return the cosmology of `PowerSpectrum.default`."""
    from astropy.cosmology import FlatLambdaCDM

    return FlatLambdaCDM(70, 0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0, name="default cosmology")


def computed_spectrum(arguments, **options):
    """Return the spectrum of the given cosmology and sources."""
    from ..theory.source_redshifts import read_n_z
    from ..theory.spectrum import PowerSpectrum

    cosmology, amplitude, n_s = cosmology_of(arguments), {"sigma8": arguments.sigma8, "As": arguments.As}, arguments.n_s
    if cosmology is None:
        cosmology, n_s = default_cosmology(), N_S if n_s is None else n_s
        if amplitude == {"sigma8": None, "As": None}:
            amplitude["As"] = AS
    elif n_s is None or amplitude == {"sigma8": None, "As": None}:
        raise ValueError("cosmology: needs --n-s and one of --sigma8 and --As, which astropy does not contain")
    if arguments.n_z is not None:
        options["n_z"] = read_n_z(arguments.n_z, "n_z", column=arguments.source_bin)
    return PowerSpectrum.from_cosmology(cosmology, n_s=n_s, **amplitude, **options)
