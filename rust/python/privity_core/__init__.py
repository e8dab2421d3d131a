"""Native kernels of privity; `privity.hazmat.native` is how privity reaches them."""

from privity_core._native import *  # noqa: F403
