# pragma version 0.4.3
# pragma evm-version cancun
"""
@title The public list of enclave gateways and relays
@license Apache-2.0
@notice An entry says what its owner says. The contract does not check that the owner holds the
    DID, that the endpoint answers or that the keys are attested: whoever reads the list does.
    The stake is only the price of a line in a list that all must read; nothing takes it away.
"""

from ethereum.ercs import IERC20

import money

event EntryRegistered:
    index: indexed(uint256)
    owner: indexed(address)
    kind: uint8
    did: String[128]
    endpoint: String[256]
    keysDigest: bytes32
    price: uint256

event EntryUpdated:
    index: indexed(uint256)
    endpoint: String[256]
    keysDigest: bytes32
    price: uint256

event EntryRetired:
    index: indexed(uint256)
    withdrawableAt: uint256

event StakeWithdrawn:
    index: indexed(uint256)
    owner: indexed(address)
    amount: uint256

struct Entry:
    owner: address
    kind: uint8  # 1 an enclave's gateway, 2 a relay
    did: String[128]
    endpoint: String[256]
    keysDigest: bytes32
    price: uint256
    withdrawableAt: uint256  # 0: in service
    staked: bool

GATEWAY: constant(uint8) = 1
RELAY: constant(uint8) = 2
LONGEST_DELAY: constant(uint256) = 365 * 86400

token: public(immutable(IERC20))
stake: public(immutable(uint256))
exitDelay: public(immutable(uint256))

count: public(uint256)
entries: HashMap[uint256, Entry]


@deploy
def __init__(token_: IERC20, stake_: uint256, exit_delay: uint256):
    assert token_.address != empty(address), "no token"
    assert stake_ > 0, "no stake"
    assert exit_delay > 0 and exit_delay <= LONGEST_DELAY, "delay out of range"
    token = token_
    stake = stake_
    exitDelay = exit_delay


@external
@nonreentrant
def register(
    kind: uint8,
    did: String[128],
    endpoint: String[256],
    keys_digest: bytes32,
    price: uint256,
) -> uint256:
    """
    @notice Stake for an entry. Nothing keeps two entries from naming one DID, so that nobody can
        keep its holder out by being first: readers ask the holder.
    """
    assert kind == GATEWAY or kind == RELAY, "unknown kind"
    assert len(did) > 0, "no DID"
    assert len(endpoint) > 0, "no endpoint"
    index: uint256 = self.count
    self.count = index + 1
    self.entries[index] = Entry(
        owner=msg.sender,
        kind=kind,
        did=did,
        endpoint=endpoint,
        keysDigest=keys_digest,
        price=price,
        withdrawableAt=0,
        staked=True,
    )
    log EntryRegistered(
        index=index,
        owner=msg.sender,
        kind=kind,
        did=did,
        endpoint=endpoint,
        keysDigest=keys_digest,
        price=price,
    )
    money.pull(token, msg.sender, stake)
    return index


@external
def update(index: uint256, endpoint: String[256], keys_digest: bytes32, price: uint256):
    """
    @notice Change where an entry is, its keys and its price; never its kind, DID or owner.
    """
    self._check_in_service(index)
    assert len(endpoint) > 0, "no endpoint"
    self.entries[index].endpoint = endpoint
    self.entries[index].keysDigest = keys_digest
    self.entries[index].price = price
    log EntryUpdated(index=index, endpoint=endpoint, keysDigest=keys_digest, price=price)


@external
def retire(index: uint256):
    """
    @notice Out of service now; the stake can be withdrawn after the delay.
    """
    self._check_in_service(index)
    at: uint256 = block.timestamp + exitDelay
    self.entries[index].withdrawableAt = at
    log EntryRetired(index=index, withdrawableAt=at)


@external
@nonreentrant
def withdraw(index: uint256):
    """
    @notice Send the stake back to its owner, whoever asks.
    """
    assert self.entries[index].staked, "no stake"
    at: uint256 = self.entries[index].withdrawableAt
    assert at != 0, "in service"
    assert block.timestamp >= at, "too early"
    owner: address = self.entries[index].owner
    self.entries[index].staked = False
    log StakeWithdrawn(index=index, owner=owner, amount=stake)
    money.push(token, owner, stake)


@external
@view
def entry(index: uint256) -> Entry:
    """
    @notice One entry, also of the retired; all empty where there is none.
    """
    return self.entries[index]


@internal
@view
def _check_in_service(index: uint256):
    assert self.entries[index].owner != empty(address), "no such entry"
    assert self.entries[index].owner == msg.sender, "not the owner"
    assert self.entries[index].withdrawableAt == 0, "retired"
