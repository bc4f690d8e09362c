"""Ask NVIDIA's driver for GPUs, without PyTorch and without taking memory of a GPU."""

import ctypes
import sys


def gpu_count() -> int:
    """Return the number of GPUs that this process sees; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
