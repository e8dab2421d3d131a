"""Floor 4, a job: private prompts.

Promise: a prompt runs only on a route whose disclosure was computed from what was verified and
admitted by the person's policy, and each leaves a record that never claims what did not happen.

Public names: `ask`, `stream`, `http_client`, `async_http_client` (client), the library's face;
`Asker` (asker), which asks over one session; `open_session`, `SessionSettings` (opening);
`PrivateTransport` (session), which runs jobs; `Journal` (journal), which writes their records, and
`ReceiptStore` (receipts), which keeps them; `Config`, `load_config` (config). `routes` and
`engines` have folders of their own.
"""
