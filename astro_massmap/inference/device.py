"""Selection of the torch device."""

import torch


def pick_device(name="auto"):
    """
    Return the torch device of the given name.

    Parameters
    ----------
    name : str or `torch.device`
        Name of the device, such as ``"cpu"`` or ``"cuda:1"``; ``"auto"`` is CUDA if available, else the CPU.

    Raises
    ------
    ValueError
        If this computer does not have the device, or the name is not one of torch.

    Examples
    --------
    >>> from astro_massmap.inference import pick_device
    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        float(torch.zeros((), dtype=torch.float32, device=device))  # "meta" holds no values
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device: {name!r} is not available; use 'auto', 'cpu' or the name of a device of this computer ({error})"
        ) from error
    return device
