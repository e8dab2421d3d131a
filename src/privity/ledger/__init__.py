"""Floor 3: the public record: clients of the contracts in contracts/.

Promise: what a client asks of the ledger about itself is what every client asks: the whole list of
members, the whole registry, one key for all. So no question shows a node whose leaf, or which
provider, somebody is about to use. What a node answers is believed in nothing of its form, and no
transaction is sent twice, whenever the process is killed. spec/ledger.md says what is not promised.

Public names, each but `CONFIRMATIONS` from its module: `client.Ledger`; `addresses.Addresses`;
`accounts.Account`, `accounts.load_account`, `accounts.load_or_create_account`;
`history.MemberHistory`, `history.Update`; `members.Members`, `members.LeafAdded`,
`members.LeafRemoved`, `members.MemberEvent`, `members.MemberPage`; `providers.Listing`,
`providers.ProviderEntry`, `providers.ProviderKind`; `credits.Deposit`, `credits.DepositState`,
`credits.KeyRotation`, `credits.SignedExit`, `credits.sign_exit`, `credits.BATCH`; `sending.Limits`;
`deploy.DevTerms`, `deploy.deploy_all`; `local_chain.LocalChain`, `local_chain.find_anvil`,
`local_chain.run_chain`; `wire.check_address`.
"""

__all__ = ["CONFIRMATIONS"]

CONFIRMATIONS = 12
"""Blocks that follow one before it is believed, where nothing else is said."""
