"""Floor 5: the running roles, each composed from the floors below.

Promise: a role holds and tells no more than its part of the job needs. The device serves who holds
its token and sends nothing that the policy did not admit; the relay carries what it cannot read and
keeps nothing; the enclave answers no prompt unsealed, and its keys end with it. A role that was
started by another ends with it. What each promises in full: spec/device.md, spec/sealed-path.md,
spec/enclave.md.

Public names: `device.DeviceApp`, `enclave.EnclaveApp`, `relay.Relay`, the roles as ASGI apps;
`devnet.run_devnet`, enclave and relay as child processes; `listen.serve_app`, which runs one. They
are imported from their modules, so that a role loads no other.
"""
