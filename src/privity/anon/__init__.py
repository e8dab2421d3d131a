"""Floor 3: unlinkability: who asked and who paid is known to nobody, and floods are stopped anyway.

Promise: a request is admitted because *some* registered member made it, and paid for because
*some* bought credit covers it; no relay, gateway, enclave or ledger can tell which, nor whether two
requests come from the same one. Whoever sends more than its limit in an epoch shows its rate
secret, and that alone: the secrets of payment and of votes are others. What each part does not
promise is said in spec/rate-limits.md and its neighbours.

Public names: `privity.anon.field` (`Field`, `field`, `field_from_int`, `field_to_int`, `ORDER`),
`privity.anon.rln` (`Proof`, `Claimed`, `VerifiedProof`, `Point`, `Prover`, `verify_proof`,
`verify_proofs`, `recover_secret`, `signal`, `external_nullifier`, `ADMISSION_HEADER`,
`HEADER_CHARS`), `privity.anon.membership` (`RateIdentity`, `MemberTree`, `Place`, `KnownRoot`,
`poseidon`, `DEPTH`, `MOST_MESSAGES`).
"""
