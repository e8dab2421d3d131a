"""NVIDIA: SPDM reports of GPUs and switches, reference manifests, and the files they come in.

Used by `privity.attest.evidence_nvidia` alone.
"""
