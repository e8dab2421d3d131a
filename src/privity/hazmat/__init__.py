"""Floor 0: the primitives; the only code that touches keys, nonces and curves.

Promise: what is sealed to a public key is read by the holder of its private key only, in the order
it was sealed and whole per message, or not at all; with X-Wing, the default, that holds as long as
either ML-KEM-768 or X25519 stands. Every refusal to open is the same `OpenError`. Nothing is said
about who sealed it, nor about its length. Private keys have no exported form and no telling repr.

What Python cannot promise: private keys made by `Kem.generate` live in OpenSSL only, which
overwrites them when they are freed; but shared secrets, message keys, exporter secrets and seeds
pass through immutable objects, which nobody can overwrite; they stay in memory until it is used
again. An enclave therefore needs memory that its host cannot read, and no core dumps nor swap.

Public: `hpke` (suites, `setup_sender`, `setup_recipient`), `kem` (the interface) with `kem_x25519`
and `kem_xwing`, `aead`, `kdf`; `native`, the way to the Rust kernels of `privity-core`.
"""
