"""Floor 5: the running roles, each composed from the floors below.

Promise: a role holds and tells no more than its part of the job needs. The device serves who holds
its token and sends nothing that the policy did not admit; the relay carries what it cannot read and
writes nothing down; the enclave answers no prompt unsealed, and its keys end with it. A role that
was started by another ends with it. What each promises in full: spec/device.md,
spec/sealed-path.md, spec/enclave.md.

Public names, each imported from its module, so that a role loads no other. The roles:
`device.DeviceApp`, `enclave.EnclaveApp`, `enclave_role.serve`, `relay.relay_app`,
`broker_role.serve_broker`, `trainer.run_trainer`, `log.log_app`, `witness.witness_app`,
`relay_role.make_relay` and `relay_role.RelaySettings`, `mixing.MixSettings`,
`gateway_role.GatewaySettings` and `gateway_role.serve`, the admission gateway;
`bus_role.BusSettings` and `bus_role.serve`, a node of the message bus;
`watched_members.LedgerSettings`, the ledger of both; `prover.ProverApp` and `prover_role.serve`, an
edge prover. How an enclave is paid: `payments.load_payments`, `withdrawals.withdraw_spent`; who
joins a network: `registry_entry.fetch_digest`, `registry_targets.FollowSettings`. How one is run:
`listen.bind`, `listen.serve_app`, `access.AccessControl`, `live.live_state`,
`attestation.AttestationSettings`, `publication.LogSubmission`. Several at once:
`devnet.run_devnet`, enclave and relay as child processes, once `devnet_needs.need_parts` is
content; `train_here.train_here`, a private run on one machine. For an owner of grants:
`owner_client.local_broker`, `owner_client.send`, `broker.GrantState`, `broker_log.read_log`. For
who deploys: `deploy.TARGETS`, `deploy.Rendered`, `deploy.request.Boot`.
"""
