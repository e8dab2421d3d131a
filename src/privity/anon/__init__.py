"""Floor 3: unlinkability: who asked and who paid is known to nobody, and floods are stopped anyway.

Promise: a request is admitted because *some* registered member made it, and paid for because
*some* bought credit covers it; no relay, gateway, enclave or ledger can tell which, nor whether two
requests come from the same one. Whoever sends more than its limit in an epoch shows its rate
secret, and that alone: the secrets of payment and of votes are others. What each part does not
promise is said in spec/rate-limits.md and its neighbours.

Public names, from their modules. Rate limits: `field.FIELD_BYTES`, `field.ORDER`, `field.ZERO`,
`field.Field`, `field.field`, `field.field_from_int`, `field.field_to_int`, `membership.DEPTH`,
`membership.MOST_MESSAGES`, `membership.KnownRoot`, `membership.MemberTree`, `membership.Place`,
`membership.RateIdentity`, `membership.poseidon`, `rln.HEADER_CHARS`,
`rln.Claimed`, `rln.Point`, `rln.Proof`, `rln.Prover`, `rln.VerifiedProof`,
`rln.external_nullifier`, `rln.recover_secret`, `rln.signal`, `rln.verify_proof`,
`rln.verify_proofs`; the gateway's admission: `admission.Admission`,
`admission.AdmittedSignal`, `admission.DoubleSignalError`, `admission.Roots`, `admission.Screened`,
`epochs.EPOCH_S`, `epochs.Epochs`; what must be remembered: `stores.Began`, `stores.Charged`,
`stores.Conflict`, `stores.Fresh`, `stores.Lapsed`, `stores.Recorded`, `stores.Running`,
`stores.Seen`, `stores.Settled`, `stores.SignalStore`, `stores.SpendStore`, `stores.Store`,
`stores.Taken`, `stores.open_store`; credits: `credits.MAX_CREDITS`, `credits.REFUND_BYTES`,
`credits.REQUEST_BYTES`, `credits.RESPONSE_BYTES`, `credits.SPEND_BYTES`, `credits.CreditTerms`,
`credits.CreditToken`, `credits.Issuer`, `credits.IssuerKey`, `credits.PendingPurchase`,
`credits.PendingSpend`, `credits.VerifiedSpend`, `credits.prepare_purchase`, `tariff.EVERY_MODEL`,
`tariff.ModelPrices`, `tariff.Step`, `tariff.Tariff`, `tariff.check_price`, `tariff.flat_tariff`,
`asked.Asked`, `asked.read_request`,
`desk.LEASE_S`, `desk.CreditDesk`, `desk.OpenJob`, `desk.SettledBefore`,
`payment_terms.PaymentTerms`, `wallet_file.wallet_key`, `wallet.Entry`,
`wallet.Membership`, `wallet.Reserved`, `wallet.Wallet`, `wallet_hints.YOUNG_S`,
`wallet_hints.recovering`; proved queries: `query.MAX_HEADER`,
`query.QUERY_OPENING_HEADER`, `query.ClaimedQuery`, `query.Opening`,
`query.QueryProof`, `query.VerifiedQuery`, `query.commitment`, `query.make_proof`,
`query.prove_query`, `query.query_context`, `query.verify_queries`, `query.verify_query`,
`query.warm_query`, `query_opening.Mismatch`, `query_opening.OpenedQuery`,
`query_opening.VerifiedMismatch`, `query_opening.check_opening`, `query_opening.verify_mismatch`,
`vocabulary.BUCKETS`, `vocabulary.MOST_DENIED`, `vocabulary.MOST_TOKENS`, `vocabulary.Vocabulary`,
`vocabulary.DESK_TOKENS`, `vocabulary.DESK_VOCABULARY`,
`query_terms.QueryTerms`, `query_witness.MAX_WITNESS`, `query_witness.PROVER_PATH`,
`query_witness.QueryWitness`; relays: `relays.Guard`, `relays.Guards`,
`relays.RelayEntry`, `relays.choose_relays`, `relays.load_guards`, `relays.save_guards`,
`relays.target_name`.
Messages: `messages.Bus` and the rest that `privity.anon.messages` lists.
"""
