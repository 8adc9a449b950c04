"""
Provenance of a map in its ``meta`` and in the header of its file.

``meta["provenance"]`` is the record of the run (see `astro_massmap.methods.provenance`), with ``command`` for maps made
by ``massmap`` (the command, its options, and names and checksums of the files that it read, no folders outside the
current one) and ``of_input``, the record (or other content) of the map that was the input, if there is one. The record
of a sum or difference also has ``of_other``, that of the second map.
"""

_VERSION_CARDS = {"python": "VERS_PY", "numpy": "VERS_NPY", "scipy": "VERS_SCI", "torch": "VERS_TOR"} | {
    "astropy": "VERS_AST",
    "astro_massmap": "VERS_MAP",
}


def into_meta(meta, made):
    """Return ``meta`` with the record of a run; an earlier record is kept as that of the input."""
    if made is None:
        return meta
    before = meta.get("provenance")
    return {**meta, "provenance": made if before is None else {**made, "of_input": before}}


def cards(provenance, n_samples=None):
    """Return the cards ``(keyword, value, comment)`` of a FITS header for a record; none for other values."""
    if not isinstance(provenance, dict) or "method" not in provenance:
        return []
    prior, given, recorded = (_dict(provenance.get(key)) for key in ("prior", "input", "versions"))
    if n_samples is None:
        n_samples = _dict(provenance.get("settings")).get("n_samples", 0)
    found = [
        ("METHOD", provenance["method"], "method; its settings are in HISTORY"),
        ("DATE-RUN", str(provenance.get("date", "")).removesuffix("Z"), "UTC date of the computation"),
        ("NSAMPLES", n_samples, "number of posterior samples"),
        ("SEED", provenance.get("seed"), "seed of the random numbers"),
        ("DEVICE", provenance.get("device"), "device of the computation"),
        ("PLATFORM", provenance.get("platform"), ""),
        *((card, recorded.get(name), f"version of {name}") for name, card in _VERSION_CARDS.items()),
        ("PRIOR", prior.get("name"), "name of the prior"),
        ("COMMENT", "INPUTSHA: SHA-256 of data, noise and pixel size; PRIORSHA: of the prior.", ""),
        ("INPUTSHA", given.get("sha256"), ""),
        ("PRIORSHA", prior.get("sha256"), ""),
    ]
    found = [(keyword, value, comment) for keyword, value, comment in found if _is_for_a_card(value)]
    return found + [("HISTORY", line, "") for line in story(provenance)]


def _is_for_a_card(value):
    return (isinstance(value, str) and value != "") or (isinstance(value, int) and abs(value) < 2**63)


def story(provenance):
    """Return text lines with the settings, command and files of a record; they may contain any character."""
    lines = [f"settings of {provenance.get('method')}"]
    lines += [f"  {name} = {value}" for name, value in _dict(provenance.get("settings")).items()]
    reduced = _dict(provenance.get("reduced_shear"))
    if reduced:
        applied = "applied" if reduced.get("applied") else "not applied"
        lines.append(f"reduced shear: {reduced.get('setting')}, {applied}")
        if reduced.get("applied"):
            keys = "largest_kappa", "last_change", "sd_log_weight", "clipped", "left_out"
            lines += [f"  {key} = {reduced.get(key)}" for key in keys]
    command = _dict(provenance.get("command"))
    if command:
        lines.append(f"command: {command.get('line')}")
    for option, file in _dict(command.get("inputs")).items():
        lines += [f"{option}: {_dict(file).get('given')}", f"sha256 {_dict(file).get('sha256')}"]
    for key in ("of_input", "of_other"):
        before = _dict(provenance.get(key))
        if before:
            lines.append(f"input: a map made by {before.get('method')} on {before.get('date')}")
    return lines


def _dict(value):
    return value if isinstance(value, dict) else {}
