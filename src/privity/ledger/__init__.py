"""Floor 3: the public record: clients of the contracts in contracts/.

Promise: what a client asks of the ledger about itself is what every client asks: the whole list of
members, the whole registry, one key for all. So no question shows a node whose leaf, or which
provider, somebody is about to use. What a node answers is believed in nothing of its form, and no
transaction is sent twice, whenever the process is killed. spec/ledger.md says what is not promised.

Public names: `Ledger` (client), `Addresses` (addresses), `Account`, `load_account`,
`load_or_create_account` (accounts), `MemberHistory`, `Update` (history), `LeafAdded`,
`LeafRemoved`, `MemberEvent`, `MemberPage` (members), `Listing`, `ProviderEntry`, `ProviderKind`
(providers), `Deposit`, `DepositState`, `IssuerKey`, `SignedExit`, `sign_exit` (credits), `Limits`
(sending), `DevTerms`, `deploy_all` (deploy), `LocalChain`, `find_anvil`, `run_chain` (local_chain).
"""
