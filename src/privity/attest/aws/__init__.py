"""AWS: the signed documents of Nitro enclaves, down to their CBOR, and the files they come in.

Used by `privity.attest.evidence_nitro` alone.
"""
