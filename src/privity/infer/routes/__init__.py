"""The ways to have a prompt answered, each with the disclosure it amounts to.

Promise: a route says what it discloses, computed from what was verified, and decides nothing; while
jobs run it is kept verified and admitted, and what later refuses it ends it at once.

Public names, each imported from its module: `route.Route`, the interface; `local.LocalRoute`, an
engine on this device, and `local.local_disclosure`; `confidential.ConfidentialRoute`,
`confidential.discover`, `confidential.examine_peer` and `confidential.confidential_disclosure`,
sealed to a verified enclave; `anonymous.AnonymousRoute`, `anonymous.anonymous_disclosure`, the
same with nobody knowing who asked; `zero_retention.ZeroRetentionRoute`,
`zero_retention.zero_retention_route` and `zero_retention.Left`, a provider on its promise;
`keeper.RouteKeeper`, which keeps a route verified and admitted.
"""
