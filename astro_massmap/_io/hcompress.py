"""Images compressed by HCOMPRESS_1, decoded in a child process: astropy's decoder can crash on a damaged stream."""

import io
import math
import os
import subprocess
import sys

import numpy as np
from astropy.io import fits

_SECONDS, _RATE = 60, 1e6  # time limit: start, and pixels per second
_SPARE, _COPIES = 2**30, 8  # memory limit after the imports: bytes, and copies of the image in double precision


class IsolatedImage(fits.CompImageHDU):
    """Compressed image whose pixels are decoded at first use, within the ``open_fits`` that opened its file."""

    @property
    def data(self):
        """Pixels as astropy reads them; OSError if they cannot be decoded."""
        if "_decoded" not in self.__dict__:
            self._decoded = self._run()
        return self._decoded

    @property
    def section(self):
        return self.data

    def _run(self):
        place = self.fileinfo()
        place["file"].seek(place["hdrLoc"])
        content = fits.PrimaryHDU().header.tostring().encode()
        content += place["file"].read(place["datLoc"] + place["datSpan"] - place["hdrLoc"])
        pixels = math.prod(self.shape)
        memory, seconds = _SPARE + _COPIES * 8 * pixels, _SECONDS + pixels / _RATE
        command = [sys.executable, "-P", "-m", __name__, str(memory)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        try:
            done = subprocess.run(
                command, input=content, capture_output=True, env=environment, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise OSError(f"its image compressed by HCOMPRESS_1 is not decoded after {seconds:.0f} s") from error
        kind, found = done.stdout[:3].decode("latin-1"), done.stdout[3:]
        good = not done.returncode and kind in ("|u1", "|i1", "<i2", "<u2", "<i4", "<u4", "<i8", "<f4", "<f8")
        if not good or len(found) != np.dtype(kind).itemsize * pixels:
            reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise OSError(
                f"its image compressed by HCOMPRESS_1 cannot be decoded (exit status {done.returncode}): {reason[:200]}"
            )
        return np.frombuffer(bytearray(found), kind).reshape(self.shape)


def _main(limit):
    """Decode the image in the first extension of the FITS file in the standard input."""
    try:
        import resource

        with open("/proc/self/statm", "rb") as file:
            limit += int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, OSError, ValueError):  # not on this platform
        pass
    data = fits.open(io.BytesIO(sys.stdin.buffer.read()))[1].data
    data = np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
    sys.stdout.buffer.write(data.dtype.str.encode() + data.tobytes())


if __name__ == "__main__":
    _main(int(sys.argv[1]))
