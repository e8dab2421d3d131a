"""Pseudonyms: personal data is recognised on the device, replaced, and restored in the answer.

Promise: what was recognised does not leave, one text has one stand-in throughout a conversation,
and where a request cannot be looked into wholly, nothing of it leaves. It makes a prompt say less
about whom it is about. It does not make it anonymous: what recognises personal data misses some of
it, and what is left can still point at a person. spec/pseudonyms.md.

Public names, each imported from its module: `detector.load_detector`, which recognises;
`pseudonymiser.Pseudonymiser` and `pseudonymiser.Departure`, which replace and restore;
`kept.sealed_maps`, what stands for what, kept sealed; `preview.Passage` and `preview.Piece`, what
would be replaced; `missing.HINT`.
"""
