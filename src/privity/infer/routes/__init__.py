"""The ways to have a prompt answered, each with the disclosure it amounts to.

`local`: an engine on this device. `confidential`: sealed to a verified enclave. `keeper` keeps a
route verified and admitted while jobs run.
"""
