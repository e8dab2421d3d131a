"""The ways to have a prompt answered, each with the disclosure it amounts to.

Promise: a route says what it discloses, computed from what was verified, and decides nothing; while
jobs run it is kept verified and admitted, and what later refuses it ends it at once.

Public names: `Route` (route), the interface; `LocalRoute` (local), an engine on this device;
`ConfidentialRoute` and `discover` (confidential), sealed to a verified enclave; `RouteKeeper`
(keeper), which keeps a route verified and admitted.
"""
