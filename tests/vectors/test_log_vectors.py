"""Published examples of the formats of transparency logs."""

from __future__ import annotations

import pytest

from privity.attest.log import Algorithm, Checkpoint, Note, NoteKey
from privity.attest.log.note import Signature
from privity.errors import MalformedError, OpenError


def test_the_published_example_of_a_signed_note_verifies() -> None:
    """From C2SP signed-note: a verifier key, and a note it verifies."""
    vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    line = (
        "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH"
        "3mFXmRKuwHjG1Yu72IneyaQM="
    )
    key = NoteKey.parse(vkey)
    assert key.algorithm is Algorithm.ED25519
    note = Note.parse(f"This is an example message.\n\n{line}\n".encode())
    (signature,) = note.signatures
    assert signature.claims(key)
    assert signature == Signature.parse(line)
    key.verify(signature.data, note.text.encode())
    with pytest.raises(OpenError):
        key.verify(signature.data, note.text.upper().encode())


def test_a_text_with_empty_lines_is_split_at_the_last_of_them() -> None:
    """The example that opens C2SP signed-note; its key is not published."""
    text = (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\n"
        "ed è subito sera.\n"
    )
    line = (
        "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKO"
        "NrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc="
    )
    note = Note.parse(f"{text}\n{line}\n".encode())
    assert note.text == text
    assert [one.name for one in note.signatures] == ["quasimodo.example/salvatore"]


def test_the_published_example_of_a_cosigned_checkpoint_is_read() -> None:
    """From C2SP tlog-cosignature; its keys are not published."""
    data = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"
        "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlr"
        "DJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    ).encode()
    note = Note.parse(data)
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == note.text
    assert int.from_bytes(note.signatures[1].data[:8], "big") == 1679315147  # the text's own time


def test_the_go_checksum_databases_key_is_read() -> None:
    vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert NoteKey.parse(vkey).name == "sum.golang.org"
    with pytest.raises(MalformedError):
        NoteKey.parse(vkey.replace("033de0ae", "033de0af"))
