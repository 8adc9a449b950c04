"""Where the tensors live."""

import torch


def pick_device(name="auto"):
    """
    The device of the given name.

    Parameters
    ----------
    name : str or `torch.device`
        ``"auto"`` is CUDA where there is one, then the CPU; anything else is what torch calls it.

    Returns
    -------
    `torch.device`

    Raises
    ------
    ValueError
        If torch does not know such a device, or this computer does not have it.

    Examples
    --------
    >>> from astro_massmap.inference import pick_device
    >>> pick_device("cpu")
    device(type='cpu')
    >>> try:
    ...     pick_device("abacus")
    ... except ValueError as error:
    ...     print(str(error).split(";")[0])
    device 'abacus' is not there
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        float(torch.zeros((), dtype=torch.float32, device=device))  # there are devices that hold no numbers
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {name!r} is not there; use 'auto', 'cpu' or the name of a device of this computer ({error})"
        ) from error
    return device
