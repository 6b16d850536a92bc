"""Weights that layers hold and compute with in low bits, as kinds of tensor; one kind a file."""

from cc_ray.store.low_bit.base import LowBit
from cc_ray.store.low_bit.float8 import LARGEST, DynamicFloat8
from cc_ray.store.low_bit.int4 import GROUPS, GroupedInt4
from cc_ray.store.low_bit.int8 import LEVELS, TOP, StaticInt8

__all__ = ["GROUPS", "LARGEST", "LEVELS", "TOP", "DynamicFloat8", "GroupedInt4", "LowBit", "StaticInt8"]
