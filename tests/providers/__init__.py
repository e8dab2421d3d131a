"""Stand-ins for providers: servers of ours that speak each provider's documented API.

They are not the providers. They keep every byte they are sent, refuse what the SDKs' own types do
not know, and answer from a script, so that tests can say what a provider would have received and
what happens to what it answers.
"""
