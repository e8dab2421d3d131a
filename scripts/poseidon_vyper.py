"""Write contracts/poseidon.vy: circomlib's Poseidon of one and two inputs, or check that it is so.

Constants come from the Grain LFSR of the Poseidon paper (Grassi et al., eprint 2019/458, appendix
F) for BN254's scalar field, x^5, 8 full rounds and 56 (t = 2) or 57 (t = 3) partial ones. The code
written does the same with fewer multiplications. In a partial round only the first element u
passes the S-box; the rest y is a linear system fed by x = u^5:

    u' = d x + c.y + k        y' = A y + b x + offset

Its offsets are moved into the k, and y is written in the eigenbasis of A (whose eigenvalues lie in
the field for both sizes), scaled so that b = (1, ..., 1):  z' = E z + x,  u' = d x + f.z + k.
`rewritten` is that in Python; this script does not write unless it equals the plain one.

Run: python scripts/poseidon_vyper.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

P = 21888242871839275222246405745257275088548364400416034343698204186575808495617
TARGET = Path(__file__).parent.parent / "contracts" / "poseidon.vy"
PARTIAL = {2: 56, 3: 57}
FULL = 8
VECTORS = {  # published with circomlib (test/poseidoncircuit.js and README of circomlibjs)
    (1,): 18586133768512220936620570745912940619677854269274689475585506675881198879027,
    (1, 2): 7853200120776062878684798364095072458815029376092732009249414926327459813530,
}

Row = list[int]
Matrix = list[Row]


def grain(t: int) -> tuple[Matrix, Matrix]:
    """Return the round constants, one row of ``t`` a round, and the MDS matrix ``t`` by ``t``."""
    head = f"{1:02b}{0:04b}{254:012b}{t:012b}{FULL:010b}{PARTIAL[t]:010b}" + "1" * 30
    state = [int(bit) for bit in head]

    def step() -> int:
        bit = state[62] ^ state[51] ^ state[38] ^ state[23] ^ state[13] ^ state[0]
        state.pop(0)
        state.append(bit)
        return bit

    def number() -> int:
        value, bits = 0, 0
        while bits < 254:
            kept, bit = step(), step()
            if kept:
                value, bits = 2 * value + bit, bits + 1
        return value

    for _ in range(160):
        step()
    constants: Row = []
    while len(constants) < (FULL + PARTIAL[t]) * t:
        value = number()
        if value < P:
            constants.append(value)
    points = [number() % P for _ in range(2 * t)]
    if len(set(points)) != 2 * t:
        raise RuntimeError("the first points of the Cauchy matrix are not distinct")
    mds = [[pow(x + y, -1, P) for y in points[t:]] for x in points[:t]]
    return [constants[i : i + t] for i in range(0, len(constants), t)], mds


def times(matrix: Matrix, vector: Row) -> Row:
    """Multiply."""
    return [sum(m * v for m, v in zip(row, vector, strict=True)) % P for row in matrix]


def plus(left: Row, right: Row) -> Row:
    """Add."""
    return [(a + b) % P for a, b in zip(left, right, strict=True)]


def plain(inputs: Row) -> int:
    """Poseidon as in the paper."""
    t = len(inputs) + 1
    constants, mds = grain(t)
    state = [0, *inputs]
    for number, row in enumerate(constants):
        state = plus(state, row)
        full = number < FULL // 2 or number >= FULL // 2 + PARTIAL[t]
        state = [pow(v, 5, P) if full or i == 0 else v for i, v in enumerate(state)]
        state = times(mds, state)
    return state[0]


@dataclass(frozen=True)
class Rewritten:
    """The constants of the rewritten permutation of ``t`` elements.

    Attributes:
        mds: the MDS matrix.
        opening: what the first full round adds to each input.
        first: for full rounds 1 to 3, what is added after the linear layer before them; that of
            round 1 holds the constant first element's share of round 0.
        entry: the linear layer of round 3, into the eigenbasis.
        d, f, e: the linear system of the partial rounds.
        k: one a partial round, added to u before its S-box.
        leave: from the eigenbasis back, without u, which stays.
        last: for full rounds 4 to 7, what is added before them; the first has the moved offsets.
    """

    mds: Matrix
    opening: Row
    first: Matrix
    entry: Matrix
    d: int
    f: Row
    e: Row
    k: Row
    leave: Matrix
    last: Matrix


@cache
def rewrite(t: int) -> Rewritten:
    """Move offsets and change the basis."""
    constants, mds = grain(t)
    n = PARTIAL[t]
    d, c = mds[0][0], mds[0][1:]
    b, a = [row[0] for row in mds[1:]], [row[1:] for row in mds[1:]]
    offset, k = constants[4][1:], [constants[4][0]]
    for row in constants[5 : 4 + n + 1]:
        k.append((row[0] + sum(x * y for x, y in zip(c, offset, strict=True))) % P)
        offset = plus(times(a, offset), row[1:])
    e, basis = eigen(a)
    scale = times(inverse(basis), b)
    leave = [[v * s % P for v, s in zip(row, scale, strict=True)] for row in basis]
    f = [
        sum(x * y for x, y in zip(c, column, strict=True)) % P
        for column in zip(*leave, strict=True)
    ]
    into = inverse(leave)
    entry = [mds[0], *(times(list(map(list, zip(*mds[1:], strict=True))), row) for row in into)]
    known = pow(constants[0][0], 5, P)
    share = [row[0] * known % P for row in mds]
    return Rewritten(
        mds=mds,
        opening=constants[0][1:],
        first=[plus(constants[1], share), constants[2], constants[3]],
        entry=entry,
        d=d,
        f=f,
        e=e,
        k=k[:-1],
        leave=leave,
        last=[[k[-1], *offset], *constants[4 + n + 1 :]],
    )


def eigen(a: Matrix) -> tuple[Row, Matrix]:
    """Return the eigenvalues and eigenvectors (as columns) of a 1 by 1 or 2 by 2 matrix."""
    if len(a) == 1:
        return [a[0][0]], [[1]]
    trace = a[0][0] + a[1][1]
    root = square_root((trace * trace - 4 * (a[0][0] * a[1][1] - a[0][1] * a[1][0])) % P)
    values = [(trace + sign * root) * pow(2, -1, P) % P for sign in (1, -1)]
    return values, [[a[0][1]] * 2, [(v - a[0][0]) % P for v in values]]


def inverse(a: Matrix) -> Matrix:
    """Invert a 1 by 1 or 2 by 2 matrix."""
    if len(a) == 1:
        return [[pow(a[0][0], -1, P)]]
    (p, q), (r, s) = a
    over = pow(p * s - q * r, -1, P)
    return [[s * over % P, -q * over % P], [-r * over % P, p * over % P]]


def square_root(a: int) -> int:
    """Return a square root modulo P (Tonelli and Shanks); raise where there is none."""
    if pow(a, (P - 1) // 2, P) != 1:
        raise RuntimeError("the eigenvalues are not in the field")
    odd, twos = P - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    c, left, root = pow(5, odd, P), pow(a, odd, P), pow(a, (odd + 1) // 2, P)  # 5 is no square
    while left != 1:
        order, square = 0, left
        while square != 1:
            square, order = square * square % P, order + 1
        step = pow(c, 1 << (twos - order - 1), P)
        twos, c = order, step * step % P
        left, root = left * c % P, root * step % P
    return root


def rewritten(inputs: Row) -> int:
    """Poseidon as contracts/poseidon.vy computes it."""
    r = rewrite(len(inputs) + 1)
    state = [pow(v, 5, P) for v in plus(inputs, r.opening)]
    state = plus(times([row[1:] for row in r.mds], state), r.first[0])
    for row in r.first[1:]:
        state = plus(times(r.mds, [pow(v, 5, P) for v in state]), row)
    u, *z = times(r.entry, [pow(v, 5, P) for v in state])
    for k in r.k:
        x = pow(u + k, 5, P)
        u = (r.d * x + sum(a * b for a, b in zip(r.f, z, strict=True))) % P
        z = [(a * b + x) % P for a, b in zip(r.e, z, strict=True)]
    state = [u, *times(r.leave, z)]
    for row in r.last:
        state = times(r.mds, [pow(v, 5, P) for v in plus(state, row)])
    return state[0]


def vyper() -> str:
    """Return the text of contracts/poseidon.vy."""
    return "\n".join([*HEAD, *function(2), *function(3), ""])


HEAD = (
    "# pragma version 0.4.3",
    "# pragma evm-version cancun",
    '"""',
    "@title Poseidon of BN254's scalar field, as circomlib's, for one and two inputs",
    "@license Apache-2.0",
    "@notice Written by scripts/poseidon_vyper.py, which explains the form; do not edit.",
    "    Sums are not reduced at once: a product is below P, at most four are added, and 5 P is",
    "    below 2**256. Inputs must be below P.",
    '"""',
    "",
    f"P: constant(uint256) = {P}",
)


def function(t: int) -> list[str]:
    """Write the function of ``t - 1`` inputs, with its constants."""
    r = rewrite(t)
    s = [f"s{i}" for i in range(t)]
    z = [f"z{i}" for i in range(1, t)]
    inputs = ["a", "b"][: t - 1]
    group = 3 if t == 3 else 2  # rounds written out in one turn of the loop; divides their number
    name = f"hash{t - 1}"
    lines = ["", ""]
    lines += [f"FIRST_{t}: constant(uint256[{t}][2]) = {nested(r.first[1:])}"]
    groups = [r.k[i : i + group] for i in range(0, len(r.k), group)]
    lines += [f"PARTIAL_{t}: constant(uint256[{group}][{len(groups)}]) = {nested(groups)}"]
    lines += [f"LAST_{t}: constant(uint256[{t}][3]) = {nested(r.last[:3])}"]
    lines += ["", "@internal", "@pure"]
    lines += [f"def {name}({', '.join(f'{i}: uint256' for i in inputs)}) -> uint256:"]
    body = ["q: uint256 = 0"]  # the square in each S-box
    body += [f"x{i}: uint256 = 0" for i in range(t)]
    for i, (value, add) in enumerate(zip(inputs, r.opening, strict=True), 1):
        body += [f"s{i}: uint256 = unsafe_add({value}, {add})", *fifth(f"x{i}", f"s{i}")]
    body += [
        f"{'s0: uint256' if i == 0 else f's{i}'} = {total([*products(row[1:], range(1, t)), add])}"
        for i, (row, add) in enumerate(zip(r.mds, r.first[0], strict=True))
    ]
    sboxes = [line for i in range(t) for line in fifth(f"x{i}", f"s{i}")]
    body += [f"for k: uint256[{t}] in FIRST_{t}:"]
    mixed = [
        f"s{i} = {total([*products(row, range(t)), f'k[{i}]'])}" for i, row in enumerate(r.mds)
    ]
    body += indent([*sboxes, *mixed])
    body += sboxes
    body += [
        f"{name}{'' if name == 's0' else ': uint256'} = {total(products(row, range(t)))}"
        for name, row in zip(["s0", *z], r.entry, strict=True)
    ]
    body += [f"for k: uint256[{group}] in PARTIAL_{t}:"]
    body += indent([line for i in range(group) for line in partial(r, z, i)])
    body += [
        f"s{i} = {total([product(m, v) for m, v in zip(row, z, strict=True)])}"
        for i, row in enumerate(r.leave, 1)
    ]
    body += [f"for k: uint256[{t}] in LAST_{t}:"]
    added = [f"{v} = unsafe_add({v}, k[{i}])" for i, v in enumerate(s)]
    mixed = [f"s{i} = {total(products(row, range(t)))}" for i, row in enumerate(r.mds)]
    body += indent([*added, *sboxes, *mixed])
    body += [f"{v} = unsafe_add({v}, {add})" for v, add in zip(s, r.last[3], strict=True)]
    body += sboxes
    body += [f"return {total(products(r.mds[0], range(t)))} % P"]
    return [*lines, *indent(body)]


def partial(r: Rewritten, z: list[str], i: int) -> list[str]:
    """Write one partial round, whose constant is ``k[i]``."""
    lines = [f"s0 = unsafe_add(s0, k[{i}])", *fifth("x0", "s0")]
    terms = [product(r.d, "x0"), *(product(f, v) for f, v in zip(r.f, z, strict=True))]
    lines += [f"s0 = {total(terms)}"]
    return lines + [f"{v} = unsafe_add({product(e, v)}, x0)" for e, v in zip(r.e, z, strict=True)]


def fifth(to: str, of: str) -> list[str]:
    """Write the S-box."""
    return [
        f"q = uint256_mulmod({of}, {of}, P)",
        f"{to} = uint256_mulmod(uint256_mulmod(q, q, P), {of}, P)",
    ]


def product(constant: int, variable: str) -> str:
    """Write a product below P."""
    return f"uint256_mulmod({variable}, {constant}, P)"


def products(row: Row, which: range) -> list[str]:
    """Write those of one row of a matrix with the S-boxes' results."""
    return [product(m, f"x{i}") for m, i in zip(row, which, strict=True)]


def total(terms: Sequence[object]) -> str:
    """Write an unreduced sum."""
    text = str(terms[0])
    for term in terms[1:]:
        text = f"unsafe_add({text}, {term})"
    return text


def nested(rows: Matrix) -> str:
    """Write a list of lists."""
    return "[" + ", ".join("[" + ", ".join(map(str, row)) + "]" for row in rows) + "]"


def indent(lines: list[str]) -> list[str]:
    """Put lines one level in."""
    return [f"    {line}" for line in lines]


def main() -> int:
    """Write, or compare with ``--check``; return the exit status."""
    for inputs, digest in VECTORS.items():
        if not plain(list(inputs)) == rewritten(list(inputs)) == digest:
            raise RuntimeError(f"this is not circomlib's Poseidon of {len(inputs)}")
    text = vyper()
    if "--check" in sys.argv[1:]:
        return 0 if TARGET.read_text() == text else 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
