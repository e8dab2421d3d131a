"""Floor 1: who. Keys that sign, names that are keys, and the one byte form of what they sign.

Promise: every name, number and document read here has exactly one spelling. What two machines call
equal is equal byte for byte, so a digest or a signature over it can mean only one thing; a second
spelling is refused, never normalised.

Public names: `SigningKey`, `VerifyKey` (keys), `device_key` (keystore), `encode_did`,
`parse_did` (did_key), `bounded_json`, `jcs`, `multibase`, `fields`, `digests`, `timestamps`.
"""
