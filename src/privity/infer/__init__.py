"""Floor 4, a job: private prompts.

Promise: a prompt runs only on a route whose disclosure was computed from what was verified and
admitted by the person's policy, and each leaves a record that never claims what did not happen.
`opening` makes a session, `session` runs jobs on it, `journal` and `receipts` keep their records,
`client` is the library's face; `routes` and `engines` have folders of their own.
"""
