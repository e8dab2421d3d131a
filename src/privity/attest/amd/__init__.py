"""AMD: SEV-SNP reports, the certificates of the chips that sign them, and the files both come in.

Used by `privity.attest.evidence_snp` alone.
"""
