"""Floor 4, a job: private prompts.

Promise: a prompt runs only on a route whose disclosure was computed from what was verified and
admitted by the person's policy, and each leaves a record that never claims what did not happen.

Public names, each imported from its module, so that a program loads what it uses. The library's
face: `client.ask`, `client.stream`, `client.http_client`, `client.async_http_client`, what they
return, `client.Answer` and `client.AnswerStream`, and `asker.Asker`, which asks over one session.
A session: `opening.open_session`, `opening.SessionSettings`, `session.PrivateTransport`, which runs
jobs; `ladder.Ladder` and `rung.Rung`, the ways it can take; `catalogue.Offer` and
`catalogue.Shelf`, what they have; `decision.PassedOver` and `decision.Cause`, which it did not take
and why; `provider_rung.LazyPseudonyms`. What is kept: `journal.Job`, the record of a running job,
and `receipts.ReceiptStore`. Settings: `config.Config`, `config.load_config`, `config.load_devnet`,
`peers.EnclavePeer`, `loopback.is_loopback`.
"""
