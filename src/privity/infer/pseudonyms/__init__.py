"""Pseudonyms: personal data is recognised on the device, replaced, and restored in the answer.

It makes a prompt say less about whom it is about. It does not make it anonymous: what recognises
personal data misses some of it, and what is left can still point at a person.
"""
