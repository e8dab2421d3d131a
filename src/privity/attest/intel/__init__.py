"""Intel: DCAP quotes of TDX and SGX, the collateral they are judged by, and the files both come in.

Used by `privity.attest.evidence_tdx` and `privity.attest.evidence_sgx` alone.
"""
