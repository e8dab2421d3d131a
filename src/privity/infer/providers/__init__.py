"""Providers that promise zero retention: what they promise, as data, and how each is asked.

Promise: nothing is asked of a provider that would leave something with it beyond one answer, unless
a person's policy names the feature; what the provider says of the rest is shown with its source
and date, and never as more than a promise.

Public names, each imported from its module: `profile.load_profile`, `profile.offers`,
`profile.Profile` and `profile.ProviderModel`, who a provider is. For the route to one:
`guard.read_request`, `guard.check` and `guard.shape_of`, what may be asked at all; `desk.Desk`,
which makes the request; `credentials.Credentials`, which authorise it; `answer.client_answer` and
`answer.client_failure`, which bring back what is answered to an `answer.Exchange`;
`limits.limits`, how much more may be asked; `failure.Key`, what may not come back;
`standing.terms_at` and `standing.provider_disclosure`, whose terms hold, and who learns what.
"""
