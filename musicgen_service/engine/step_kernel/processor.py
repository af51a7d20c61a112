"""The instructions of this processor that the kernel has forms for."""

from functools import cache

_NEEDED = ("avx2", "fma", "f16c")


@cache
def is_supported() -> bool:
    """Whether it has what every form of the kernel consists of: AVX2, FMA and F16C."""
    return all(map(_has, _NEEDED))


@cache
def has_vnni() -> bool:
    """Whether it has AVX-512 with products of 8-bit integers (VNNI)."""
    return _has("avx512vnni")


def _has(feature: str) -> bool:
    from llvmlite import binding

    return bool(binding.get_host_cpu_features().get(feature))
