"""Floor 4: what an anonymous job needs beside a sealed one: a way, a proof, and a spend.

Promise: what leaves for one request has nothing in common with what leaves for another of the same
person, but for what everybody's requests have in common; and no request is admitted or paid twice.
spec/anonymous.md lists the sentences and their tests.

Public names, each imported from its module: `network.open_network` and `network.Network`, all of it
together; `admitted.AdmittedTransport`, which proves, and `paid.PaidTransport`, which pays, each
around another transport; `proved.ProvedTransport` and `proved.QueryMaker`, which prove what is
asked where that is wanted, `makers.QueryMakers`, by any tokenizer, `provers.QueryProver`, here or
elsewhere, and `edge_prover.EdgeProver`; `members.MemberView` and `members.LedgerSource`, the tree
as the ledger has it; `purse.SharedWallet` and `purse.wallet_folder`; `teller.Teller`, which joins,
buys and takes out, and `staking.Stake`; `recovery.Recovery`, which gets back what was spent in
vain; `desk.said`, the questions of both; `inbox.open_box`, where a person is written to,
`sending.send` and `sending.membership_sender`; `opening.open_teller`, `opening.configured_wallet`,
`opening.configured_elsewhere` and `opening.ACCOUNT`, from what is configured.
"""
