# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Money for anonymous credits: bought here, spent where nobody sees, settled here
@license Apache-2.0
@notice A deposit pays for one blind request, named by its SHA-256. The operator claims it, then
    answers the request; a deposit that is not claimed in time goes back to who made it.
    The operator withdraws what was spent, one nullifier once; who holds unspent credits takes
    their money out with a signature of the issuer's desk, one nullifier once. What was taken out
    is not withdrawn any more; but a withdrawal stops no exit, or the operator could stop any.
    The contract cannot see what was spent: up to what was issued, the operator is believed.
@dev Always: balance >= pending + issued - withdrawn - exited.
"""

from ethereum.ercs import IERC20

import money

event Deposited:
    depositId: indexed(uint256)
    amount: uint256
    requestDigest: bytes32

event Claimed:
    depositId: indexed(uint256)
    amount: uint256
    requestDigest: bytes32

event Refunded:
    depositId: indexed(uint256)
    depositor: indexed(address)
    amount: uint256

event WithdrawnSpent:
    batchDigest: indexed(bytes32)
    count: uint256
    amount: uint256

event Exited:
    nonce: indexed(bytes32)
    to: indexed(address)
    amount: uint256

event IssuerKeyProposed:
    key: indexed(bytes32)
    activeFrom: uint256

event IssuerKeyActivated:
    key: indexed(bytes32)

event SignerProposed:
    signer: indexed(address)
    activeFrom: uint256

event SignerActivated:
    signer: indexed(address)

event Paused: pass

event Unpaused: pass

struct Deposit:
    depositor: address
    amount: uint256
    requestDigest: bytes32
    claimableUntil: uint256
    state: uint8  # 0 none, 1 pending, 2 claimed, 3 refunded

PENDING: constant(uint8) = 1
CLAIMED: constant(uint8) = 2
REFUNDED: constant(uint8) = 3
MOST_128: constant(uint256) = 2**128 - 1
LONGEST_DELAY: constant(uint256) = 365 * 86400
HALF_ORDER: constant(uint256) = (
    57896044618658097711785492504343953926418782139537452191302581570759080747168
)
DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
EXIT_TYPE: constant(bytes32) = keccak256("Exit(uint256 amount,address to,bytes32 nonce)")
NAME: constant(bytes32) = keccak256("privity credits")
VERSION: constant(bytes32) = keccak256("1")

token: public(immutable(IERC20))
operator: public(immutable(address))
guardian: public(immutable(address))
rotationDelay: public(immutable(uint256))
issueDelay: public(immutable(uint256))

issuerKey: public(bytes32)
proposedIssuerKey: public(bytes32)
issuerKeyActiveFrom: public(uint256)
signer: public(address)
proposedSigner: public(address)
signerActiveFrom: public(uint256)

paused: public(bool)
isDenomination: public(HashMap[uint256, bool])
denominationList: DynArray[uint256, 16]
depositCount: public(uint256)
deposits: HashMap[uint256, Deposit]
used: public(HashMap[bytes32, bool])  # nullifiers that were paid for, to either side
exitPaid: public(HashMap[bytes32, bool])  # those of them that were paid for by an exit

pending: public(uint256)
issued: public(uint256)
withdrawn: public(uint256)
exited: public(uint256)


@deploy
def __init__(
    token_: IERC20,
    operator_: address,
    signer_: address,
    guardian_: address,
    denominations_: DynArray[uint256, 16],
    issuer_key: bytes32,
    rotation_delay: uint256,
    issue_delay: uint256,
):
    """
    @param operator_ Who claims deposits, withdraws what was spent and proposes keys.
    @param signer_ Whose EIP-712 signature lets unspent credits out.
    @param guardian_ Who can pause deposits, claims and withdrawals of the operator; nothing else.
    @param denominations_ What one may deposit, ascending.
    """
    assert token_.address != empty(address), "no token"
    assert operator_ != empty(address), "no operator"
    assert signer_ != empty(address), "no signer"
    assert guardian_ != empty(address), "no guardian"
    assert issuer_key != empty(bytes32), "no issuer key"
    assert rotation_delay > 0 and rotation_delay <= LONGEST_DELAY, "delay out of range"
    assert issue_delay > 0 and issue_delay <= LONGEST_DELAY, "delay out of range"
    assert len(denominations_) > 0, "no denominations"
    last: uint256 = 0
    for denomination: uint256 in denominations_:
        assert denomination > last, "denominations not ascending"
        assert denomination <= MOST_128, "denomination too large"
        self.isDenomination[denomination] = True
        last = denomination
    self.denominationList = denominations_
    self.issuerKey = issuer_key
    self.signer = signer_
    token = token_
    operator = operator_
    guardian = guardian_
    rotationDelay = rotation_delay
    issueDelay = issue_delay


@external
@nonreentrant
def deposit(denomination: uint256, request_digest: bytes32) -> uint256:
    """
    @notice Pay for the answer to one blind request.
    @param request_digest SHA-256 of the request. The depositor's address, the amount and the time
        are public; what is done with the credits later cannot be tied to them.
    """
    assert not self.paused, "paused"
    assert self.isDenomination[denomination], "not a denomination"
    assert request_digest != empty(bytes32), "no request"
    deposit_id: uint256 = self.depositCount
    self.depositCount = deposit_id + 1
    self.pending += denomination
    self.deposits[deposit_id] = Deposit(
        depositor=msg.sender,
        amount=denomination,
        requestDigest=request_digest,
        claimableUntil=block.timestamp + issueDelay,
        state=PENDING,
    )
    log Deposited(depositId=deposit_id, amount=denomination, requestDigest=request_digest)
    money.pull(token, msg.sender, denomination)
    return deposit_id


@external
@nonreentrant
def claimIssued(deposit_id: uint256):
    """
    @notice The operator takes a deposit as paid, before answering its request. Not after
        `issueDelay`: then only a refund is left, which no claim can overtake.
    """
    assert msg.sender == operator, "not the operator"
    assert not self.paused, "paused"
    assert self.deposits[deposit_id].state == PENDING, "not pending"
    assert block.timestamp <= self.deposits[deposit_id].claimableUntil, "too late"
    amount: uint256 = self.deposits[deposit_id].amount
    self.deposits[deposit_id].state = CLAIMED
    self.pending -= amount
    self.issued += amount
    log Claimed(
        depositId=deposit_id,
        amount=amount,
        requestDigest=self.deposits[deposit_id].requestDigest,
    )


@external
@nonreentrant
def refundDeposit(deposit_id: uint256):
    """
    @notice Take back a deposit that was not claimed in time. No pause stops this.
    """
    assert self.deposits[deposit_id].state == PENDING, "not pending"
    assert self.deposits[deposit_id].depositor == msg.sender, "not the depositor"
    assert block.timestamp > self.deposits[deposit_id].claimableUntil, "too early"
    amount: uint256 = self.deposits[deposit_id].amount
    self.deposits[deposit_id].state = REFUNDED
    self.pending -= amount
    log Refunded(depositId=deposit_id, depositor=msg.sender, amount=amount)
    money.push(token, msg.sender, amount)


@external
@nonreentrant
def withdrawSpent(
    batch_digest: bytes32,
    nullifiers: DynArray[bytes32, 256],
    amounts: DynArray[uint256, 256],
):
    """
    @notice The operator takes what was spent, each nullifier once.
    @param batch_digest The operator's own name of the batch; nothing here rests on it.
    """
    assert msg.sender == operator, "not the operator"
    assert not self.paused, "paused"
    assert len(nullifiers) > 0, "an empty batch"
    assert len(nullifiers) == len(amounts), "not one amount a nullifier"
    total: uint256 = 0
    place: uint256 = 0
    for nullifier: bytes32 in nullifiers:
        assert not self.used[nullifier], "nullifier used"
        assert amounts[place] > 0, "nothing to withdraw"
        self.used[nullifier] = True
        total += amounts[place]
        place = unsafe_add(place, 1)
    assert total <= self._unspent(), "more than was issued"
    self.withdrawn += total
    log WithdrawnSpent(batchDigest=batch_digest, count=len(nullifiers), amount=total)
    money.push(token, operator, total)


@external
@nonreentrant
def exitUnspent(amount: uint256, to: address, nonce: bytes32, signature: Bytes[65]):
    """
    @notice Take unspent credits out as money. No pause stops this, and no withdrawal under the
        same nullifier, which no honest operator makes; anyone may send it.
    @param nonce The nullifier of the spend of `amount` that the desk saw.
    @param signature r, s, v of the signer, over EIP-712 Exit(amount, to, nonce).
    """
    assert to != empty(address) and to != self, "no receiver"
    assert amount > 0, "nothing to take out"
    assert not self.exitPaid[nonce], "nullifier used"
    assert amount <= self._unspent(), "more than was issued"
    assert self._signed(amount, to, nonce, signature), "not signed"
    self.exitPaid[nonce] = True
    self.used[nonce] = True
    self.exited += amount
    log Exited(nonce=nonce, to=to, amount=amount)
    money.push(token, to, amount)


@external
def proposeIssuerKey(key: bytes32):
    """
    @notice Announce the next issuer key; proposing again starts the delay anew.
    """
    assert msg.sender == operator, "not the operator"
    assert key != empty(bytes32), "no issuer key"
    self.proposedIssuerKey = key
    self.issuerKeyActiveFrom = block.timestamp + rotationDelay
    log IssuerKeyProposed(key=key, activeFrom=self.issuerKeyActiveFrom)


@external
def activateIssuerKey():
    """
    @notice Put the announced key in force, once its delay is over; anyone may.
    """
    key: bytes32 = self.proposedIssuerKey
    assert key != empty(bytes32), "nothing proposed"
    assert block.timestamp >= self.issuerKeyActiveFrom, "too early"
    self.issuerKey = key
    self.proposedIssuerKey = empty(bytes32)
    self.issuerKeyActiveFrom = 0
    log IssuerKeyActivated(key=key)


@external
def proposeSigner(signer_: address):
    """
    @notice Announce who signs exits next. Exits signed by the one before have until then.
    """
    assert msg.sender == operator, "not the operator"
    assert signer_ != empty(address), "no signer"
    self.proposedSigner = signer_
    self.signerActiveFrom = block.timestamp + rotationDelay
    log SignerProposed(signer=signer_, activeFrom=self.signerActiveFrom)


@external
def activateSigner():
    """
    @notice Put the announced signer in force, once the delay is over; anyone may.
    """
    signer_: address = self.proposedSigner
    assert signer_ != empty(address), "nothing proposed"
    assert block.timestamp >= self.signerActiveFrom, "too early"
    self.signer = signer_
    self.proposedSigner = empty(address)
    self.signerActiveFrom = 0
    log SignerActivated(signer=signer_)


@external
def pause():
    """
    @notice Stop deposits, claims and withdrawals of the operator; never refunds or exits.
    """
    assert msg.sender == guardian, "not the guardian"
    assert not self.paused, "paused"
    self.paused = True
    log Paused()


@external
def unpause():
    """
    @notice Let them go on.
    """
    assert msg.sender == guardian, "not the guardian"
    assert self.paused, "not paused"
    self.paused = False
    log Unpaused()


@external
@view
def denominations() -> DynArray[uint256, 16]:
    """
    @notice What one may deposit, ascending.
    """
    return self.denominationList


@external
@view
def depositAt(deposit_id: uint256) -> Deposit:
    """
    @notice One deposit; all 0 where there is none.
    """
    return self.deposits[deposit_id]


@external
@view
def unspent() -> uint256:
    """
    @notice What was issued and neither withdrawn nor taken out.
    """
    return self._unspent()


@external
@view
def exitDigest(amount: uint256, to: address, nonce: bytes32) -> bytes32:
    """
    @notice What the signer signs (EIP-712).
    """
    return self._exit_digest(amount, to, nonce)


@internal
@view
def _unspent() -> uint256:
    return self.issued - self.withdrawn - self.exited


@internal
@view
def _exit_digest(amount: uint256, to: address, nonce: bytes32) -> bytes32:
    domain: bytes32 = keccak256(abi_encode(DOMAIN_TYPE, NAME, VERSION, chain.id, self))
    content: bytes32 = keccak256(abi_encode(EXIT_TYPE, amount, to, nonce))
    return keccak256(concat(b"\x19\x01", domain, content))


@internal
@view
def _signed(amount: uint256, to: address, nonce: bytes32, signature: Bytes[65]) -> bool:
    if len(signature) != 65:
        return False
    r: uint256 = extract32(signature, 0, output_type=uint256)
    s: uint256 = extract32(signature, 32, output_type=uint256)
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    if s > HALF_ORDER or (v != 27 and v != 28):
        return False
    found: address = ecrecover(self._exit_digest(amount, to, nonce), v, r, s)
    return found != empty(address) and found == self.signer
