"""Memory of the computer."""

import os


def physical_memory():
    """Return the size of the memory in bytes, 64 GiB where the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**36
