"""Providers that promise zero retention: what they promise, as data, and how each is asked.

Promise: nothing is asked of a provider that would leave something with it beyond one answer, unless
a person's policy names the feature; what the provider says of the rest is shown with its source
and date, and never as more than a promise.

Public names: `load_profile`, `offers`, `Profile` and `ProviderModel` (profile); `check` and
`shape_of` (guard), what may be asked at all. The others serve `routes.zero_retention` and are not
imported from elsewhere: `Desk` (desk) makes the request, `Credentials` (credentials) authorise it,
`client_answer` (answer) brings the answer back.
"""
