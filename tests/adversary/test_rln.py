"""spec/rate-limits.md, its proof part: nothing but the proof that was made is accepted."""

from __future__ import annotations

import base64
import gc
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from members import EPOCH, LIMIT, SCOPE, batch, digest, member, proof
from native import needs_native
from privity.anon.field import ORDER, ZERO, Field, field_from_int, field_to_int
from privity.anon.membership import MemberTree, Place, RateIdentity
from privity.anon.rln import (
    Claimed,
    Point,
    Proof,
    Prover,
    VerifiedProof,
    external_nullifier,
    recover_secret,
    signal,
    verify_proof,
    verify_proofs,
)
from privity.errors import AdmissionError, InputError, MalformedError
from privity.hazmat.native import native

pytestmark = needs_native

REQUEST = digest("request")


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def refused(made: Proof, scope: str = SCOPE, request: bytes = REQUEST) -> bool:
    try:
        verify_proof(made, scope=scope, digest=request)
    except AdmissionError as error:
        assert error.check == "proof"
        return True
    return False


def test_the_proof_itself_is_accepted() -> None:
    verified = verify_proof(proof(), scope=SCOPE, digest=REQUEST)
    assert verified.point == Point(signal(REQUEST), proof().y)
    assert verified.proof.root == member()[1].root


def test_every_flipped_bit_of_the_header_is_refused() -> None:
    data = base64.urlsafe_b64decode(proof().to_header() + "=")
    claims = []
    for bit in range(8 * len(data)):
        text = base64.urlsafe_b64encode(flipped(data, bit)).decode().rstrip("=")
        try:
            claims.append(Claimed(Proof.from_header(text), SCOPE, REQUEST))
        except MalformedError:
            continue
    assert len(claims) > 1800, "most flips are still headers"
    assert not [one for one in verify_proofs(claims) if isinstance(one, VerifiedProof)]


def test_every_flipped_bit_of_the_digest_is_refused() -> None:
    claims = [Claimed(proof(), SCOPE, flipped(REQUEST, bit)) for bit in range(256)]
    assert not [one for one in verify_proofs(claims) if isinstance(one, VerifiedProof)]


@pytest.mark.parametrize("scope", ["did:key:z6MkOther", SCOPE + " ", SCOPE[:-1], SCOPE.lower()])
def test_a_proof_for_another_provider_is_refused(scope: str) -> None:
    assert refused(proof(), scope=scope)


@pytest.mark.parametrize("epoch", [EPOCH - 1, EPOCH + 1, 0, (1 << 64) - 1])
def test_a_proof_of_another_epoch_is_refused(epoch: int) -> None:
    assert refused(replace(proof(), epoch=epoch))


def test_a_proof_for_another_root_is_refused() -> None:
    tree = MemberTree()
    tree.append(field_from_int(5))
    for root in (tree.root, ZERO, field_from_int(ORDER - 1)):
        assert refused(replace(proof(), root=root))


def test_parts_of_two_true_proofs_do_not_mix() -> None:
    first, second = proof(), proof("another", 1)
    for part in ("proof", "y", "nullifier"):
        assert refused(replace(first, **{part: getattr(second, part)}))


def test_a_field_element_spelled_above_the_order_is_refused() -> None:
    for name in ("root", "y", "nullifier"):
        number = field_to_int(getattr(proof(), name)) + ORDER
        if number >= 1 << 256:
            continue
        spelled = replace(proof(), **{name: Field(number.to_bytes(32, "little"))})
        assert refused(spelled)
        with pytest.raises(MalformedError):
            Proof.from_header(spelled.to_header())


def test_points_that_are_no_proof_are_refused() -> None:
    infinity = bytes(31) + b"\x40"
    infinity_2 = bytes(63) + b"\x40"
    a, b, c = proof().proof[:32], proof().proof[32:96], proof().proof[96:]
    for points in (
        bytes(128),
        b"\xff" * 128,
        infinity + infinity_2 + infinity,
        infinity + b + c,
        a + infinity_2 + c,
        a + b + infinity,
        c + b + a,
        b"",
        proof().proof + b"\0",
    ):
        assert refused(replace(proof(), proof=points))


def test_a_member_above_its_limit_cannot_prove() -> None:
    _, place, prover = member()
    for message_id in (LIMIT, LIMIT + 1, 1 << 16, 1 << 64, -1):
        with pytest.raises(InputError):
            prover.prove(place, epoch=EPOCH, message_id=message_id, digest=REQUEST)


def test_a_member_cannot_raise_its_own_limit() -> None:
    identity, place, _ = member()
    raised = replace(place, limit=LIMIT + 1)
    with pytest.raises(InputError, match="not this identity's"):
        Prover(identity, SCOPE).prove(raised, epoch=EPOCH, message_id=LIMIT, digest=REQUEST)


def test_who_is_no_member_cannot_prove() -> None:
    _, place, _ = member()
    with (
        RateIdentity.generate() as stranger,
        pytest.raises(InputError, match="not this identity's"),
    ):
        Prover(stranger, SCOPE).prove(place, epoch=EPOCH, message_id=0, digest=REQUEST)


def test_a_proof_of_a_strangers_own_tree_has_another_root() -> None:
    tree = MemberTree()
    with RateIdentity.generate() as stranger:
        place = tree.place(tree.append(stranger.leaf(LIMIT)), LIMIT)
        made = Prover(stranger, SCOPE).prove(place, epoch=EPOCH, message_id=0, digest=REQUEST)
    assert made.root != member()[1].root
    assert refused(replace(made, root=member()[1].root))


def test_two_signals_of_one_message_id_reveal_the_secret() -> None:
    first, second = (
        verify_proof(proof(name, 9), scope=SCOPE, digest=digest(name)) for name in ("one", "two")
    )
    assert first.proof.nullifier == second.proof.nullifier
    secret = recover_secret(first.point, second.point)
    assert secret == member()[0].unsafe_secret()
    with RateIdentity(secret) as cheater:
        assert cheater.leaf(LIMIT) == member()[0].leaf(LIMIT)


def test_one_signal_sent_twice_reveals_nothing() -> None:
    one = verify_proof(proof(), scope=SCOPE, digest=REQUEST)
    again = verify_proof(proof(), scope=SCOPE, digest=REQUEST)
    with pytest.raises(InputError):
        recover_secret(one.point, again.point)


def test_points_of_two_message_ids_reveal_nothing_and_are_not_linked() -> None:
    first, second = proof("one", 1), proof("two", 2)
    assert first.nullifier != second.nullifier
    found = recover_secret(
        Point(signal(digest("one")), first.y), Point(signal(digest("two")), second.y)
    )
    assert found != member()[0].unsafe_secret()


def test_nullifiers_of_one_member_differ_between_epochs_and_providers() -> None:
    identity, place, _ = member()
    elsewhere = Prover(identity, "did:key:z6MkOther")
    made = {
        proof().nullifier,
        proof(epoch=EPOCH + 1).nullifier,
        elsewhere.prove(place, epoch=EPOCH, message_id=0, digest=REQUEST).nullifier,
    }
    assert len(made) == 3


def test_proving_twice_shows_the_same_values_under_other_points() -> None:
    _, place, prover = member()
    first, second = (
        prover.prove(place, epoch=EPOCH, message_id=0, digest=REQUEST) for _ in range(2)
    )
    assert (first.y, first.nullifier) == (second.y, second.nullifier)
    assert first.proof != second.proof


SPOIL: list[Callable[[Claimed], Claimed]] = [
    lambda one: one._replace(digest=digest("?")),
    lambda one: one._replace(proof=replace(one.proof, proof=bytes(128))),
    lambda one: one._replace(proof=replace(one.proof, y=Field(b"\xff" * 32))),
    lambda one: one._replace(scope="did:key:z6MkOther"),
]


@pytest.mark.parametrize("spoil", SPOIL)
@pytest.mark.parametrize("place", [0, 77, 255])
def test_one_false_proof_among_256_is_named_and_costs_no_other(
    place: int, spoil: Callable[[Claimed], Claimed]
) -> None:
    claims = list(batch(256))
    claims[place] = spoil(claims[place])
    verdicts = verify_proofs(claims)
    assert [at for at, one in enumerate(verdicts) if isinstance(one, AdmissionError)] == [place]
    for claim, verdict in zip(claims, verdicts, strict=True):
        assert isinstance(verdict, AdmissionError) or verdict.proof == claim.proof


def test_proofs_swapped_within_a_batch_are_all_refused() -> None:
    claims = batch(256)[:32]
    swapped = [
        one._replace(proof=replace(one.proof, proof=claims[at ^ 1].proof.proof))
        for at, one in enumerate(claims)
    ]
    assert all(isinstance(one, AdmissionError) for one in verify_proofs(swapped))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 17])
def test_a_batch_gives_the_verdicts_of_single_checks(count: int) -> None:
    claims = [
        Claimed(proof("request" if at % 3 else "another", at % 2), SCOPE, REQUEST)
        for at in range(count)
    ]
    single = [refused(one.proof, one.scope, one.digest) for one in claims]
    assert [isinstance(one, AdmissionError) for one in verify_proofs(claims)] == single


def test_nothing_but_verification_makes_a_verified_proof() -> None:
    with pytest.raises(TypeError):
        VerifiedProof(proof(), SCOPE, signal(REQUEST))


def test_a_removed_member_is_in_no_root_that_is_accepted() -> None:
    tree, identity = MemberTree(), RateIdentity.generate()
    index = tree.append(identity.leaf(LIMIT), at=1.0)
    tree.append(field_from_int(5), at=2.0)
    place = tree.place(index, LIMIT)
    tree.remove(index, at=3.0)
    made = Prover(identity, SCOPE).prove(place, epoch=EPOCH, message_id=0, digest=REQUEST)
    assert verify_proof(made, scope=SCOPE, digest=REQUEST)
    assert not tree.knows(made.root)
    stale = Place(index, LIMIT, tree.path(index), tree.root)
    with pytest.raises(InputError, match="not this identity's"):
        Prover(identity, SCOPE).prove(stale, epoch=EPOCH, message_id=0, digest=REQUEST)


def test_no_text_shows_the_secret() -> None:
    identity, place, prover = member()
    secret = identity.unsafe_secret()
    texts = [repr(identity), repr(prover), repr(native().Rln.load())]
    rln = native().Rln.load()
    texts.append(repr(rln.prepare(secret, place.limit, place.path, place.index)))
    with pytest.raises(ValueError, match="message id") as caught:
        scope = external_nullifier(EPOCH, SCOPE)
        rln.prove(secret, 1, 1, place.path, place.index, signal(REQUEST), scope)
    texts.append(str(caught.value))
    for text in texts:
        assert secret.hex() not in text and str(field_to_int(secret)) not in text
        assert repr(secret) not in text


def test_a_closed_identity_holds_no_secret() -> None:
    identity = RateIdentity.generate()
    secret = identity.unsafe_secret()
    identity.close()
    gc.collect()
    assert secret not in (bytes(value) for value in vars(identity).values() if value)
    with pytest.raises(InputError):
        identity.unsafe_secret()


def test_the_subgroup_check_leaves_no_other_points() -> None:
    """What rust/src/rln/lines.rs says of its check of B, worked out from the curve's parameter.

    f(psi) = 6x+2 + psi - psi^2 + psi^3 is reduced by psi^2 = t*psi - q to a + b*psi; a point it
    maps to zero has an order that divides the norm, and the curve's number of points.
    """
    x = 4965661367192848881
    q = 36 * x**4 + 36 * x**3 + 24 * x**2 + 6 * x + 1
    t = 6 * x**2 + 1
    r = q + 1 - t
    points = r * (2 * q - r)  # of the twist over the field of q^2 elements
    powers = [(1, 0), (0, 1)]
    for _ in range(2):
        a, b = powers[-1]
        powers.append((-b * q, a + b * t))
    weights = (6 * x + 2, 1, -1, 1)
    a, b = (
        sum(weight * power[at] for weight, power in zip(weights, powers, strict=True))
        for at in (0, 1)
    )
    norm = a * a + a * b * t + b * b * q
    assert math.gcd(norm, points) == r and points % (r * r)
    assert sum(weight * q**at for at, weight in enumerate(weights)) % r == 0
