# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Members who staked for a rate of messages, as the leaves of a Merkle tree
@license Apache-2.0
@notice A leaf is Poseidon(Poseidon(secret), limit). Whoever sends more than `limit` messages in
    an epoch reveals `secret`, and then anyone takes the leaf out and the stake from it. The tree
    has depth 20, empty leaves are 0, nodes are circomlib's Poseidon of two, as zerokit's.
    Nobody can pause, upgrade or own this contract.
@dev Lazy: a change stores only nodes whose two halves are full, so a registration hashes about
    once beside its leaf, and `root` is computed by who asks. Roots are kept when someone asks.
"""

from ethereum.ercs import IERC20

import money
import poseidon

event Registered:
    index: indexed(uint256)
    leaf: uint256
    limit: uint256

event Removed:
    index: indexed(uint256)
    leaf: uint256
    slashed: bool

event ExitRequested:
    index: indexed(uint256)
    staker: indexed(address)
    withdrawableAt: uint256

event Withdrawn:
    index: indexed(uint256)
    staker: indexed(address)
    amount: uint256

event Slashed:
    index: indexed(uint256)
    receiver: indexed(address)
    bounty: uint256
    rest: uint256

event RootRecorded:
    root: uint256
    number: uint256

struct Member:
    staker: address
    limit: uint256
    withdrawableAt: uint256

P: constant(uint256) = 21888242871839275222246405745257275088548364400416034343698204186575808495617
DEPTH: constant(uint256) = 20
CAPACITY: constant(uint256) = 2**20
MOST_LIMIT: constant(uint256) = 2**16 - 1  # the circuit compares 16 bits
MOST_32: constant(uint256) = 2**32 - 1
MOST_64: constant(uint256) = 2**64 - 1
MOST_128: constant(uint256) = 2**128 - 1
MOST_160: constant(uint256) = 2**160 - 1
LONGEST_DELAY: constant(uint256) = 365 * 86400
HISTORY: constant(uint256) = 64
EMPTY: constant(uint256[21]) = [  # the root of an empty tree of each height
    0,
    14744269619966411208579211824598458697587494354926760081771325075741142829156,
    7423237065226347324353380772367382631490014989348495481811164164159255474657,
    11286972368698509976183087595462810875513684078608517520839298933882497716792,
    3607627140608796879659380071776844901612302623152076817094415224584923813162,
    19712377064642672829441595136074946683621277828620209496774504837737984048981,
    20775607673010627194014556968476266066927294572720319469184847051418138353016,
    3396914609616007258851405644437304192397291162432396347162513310381425243293,
    21551820661461729022865262380882070649935529853313286572328683688269863701601,
    6573136701248752079028194407151022595060682063033565181951145966236778420039,
    12413880268183407374852357075976609371175688755676981206018884971008854919922,
    14271763308400718165336499097156975241954733520325982997864342600795471836726,
    20066985985293572387227381049700832219069292839614107140851619262827735677018,
    9394776414966240069580838672673694685292165040808226440647796406499139370960,
    11331146992410411304059858900317123658895005918277453009197229807340014528524,
    15819538789928229930262697811477882737253464456578333862691129291651619515538,
    19217088683336594659449020493828377907203207941212636669271704950158751593251,
    21035245323335827719745544373081896983162834604456827698288649288827293579666,
    6939770416153240137322503476966641397417391950902474480970945462551409848591,
    10941962436777715901943463195175331263348098796018438960955633645115732864202,
    15019797232609675441998260052101280400536945603062888308240081994073687793470,
]

token: public(immutable(IERC20))
stakePerMessage: public(immutable(uint256))
bounty: public(immutable(uint256))
exitDelay: public(immutable(uint256))
treasury: public(immutable(address))

leafCount: public(uint256)
nodes: HashMap[uint256, uint256]  # level * 2**32 + place -> a node whose subtree is full of leaves
members: HashMap[uint256, uint256]  # index -> staker | limit * 2**160 | withdrawableAt * 2**192
exiting: HashMap[uint256, uint256]  # index -> the leaf it was, until withdrawn or slashed

rootCount: public(uint256)
records: HashMap[uint256, uint256]  # root -> number + 1 of its last recording | time * 2**64
rootsFrom: uint256  # lower numbers are of trees in which somebody was who is out now


@deploy
def __init__(
    token_: IERC20,
    stake_per_message: uint256,
    bounty_: uint256,
    exit_delay: uint256,
    treasury_: address,
):
    assert token_.address != empty(address), "no token"
    assert treasury_ != empty(address), "no treasury"
    assert bounty_ < stake_per_message, "bounty not below the stake"
    assert stake_per_message <= MOST_128, "stake too large"
    assert exit_delay > 0 and exit_delay <= LONGEST_DELAY, "delay out of range"
    token = token_
    stakePerMessage = stake_per_message
    bounty = bounty_
    exitDelay = exit_delay
    treasury = treasury_


@external
@nonreentrant
def register(commitment: uint256, limit: uint256) -> uint256:
    """
    @notice Stake for `limit` messages an epoch; the leaf goes to the next free place, for good.
    @param commitment Poseidon(secret). One that is there already is taken again: who copies
        another's only pays for a leaf that they cannot use.
    """
    assert commitment > 0 and commitment < P, "not a field element"
    assert limit > 0 and limit <= MOST_LIMIT, "limit out of range"
    index: uint256 = self.leafCount
    assert index < CAPACITY, "the tree is full"
    leaf: uint256 = poseidon.hash2(commitment, limit)
    self.members[index] = convert(msg.sender, uint256) | (limit << 160)
    self.leafCount = index + 1
    self._append(index, leaf)
    log Registered(index=index, leaf=leaf, limit=limit)
    money.pull(token, msg.sender, stakePerMessage * limit)
    return index


@external
@nonreentrant
def slash(index: uint256, secret: uint256, receiver: address):
    """
    @notice Take the stake of whoever's secret is known: the bounty to `receiver`, the rest to the
        treasury. It works until the stake is withdrawn, also while the member is leaving.
    @dev Whoever sees this call before it is mined can send it first and be the receiver; the
        member loses the same. The member can too, and gets back the bounty alone.
    """
    assert receiver != empty(address) and receiver != self, "no receiver"
    assert secret < P, "not a field element"
    member: uint256 = self.members[index]
    assert member != 0, "no such member"
    limit: uint256 = self._limit(member)
    leaf: uint256 = poseidon.hash2(poseidon.hash1(secret), limit)
    if self._withdrawable_at(member) == 0:
        assert leaf == self.nodes[index], "not the secret"
        self._clear(index)
        log Removed(index=index, leaf=leaf, slashed=True)
    else:  # it left the tree before, and Removed was said then
        assert leaf == self.exiting[index], "not the secret"
        self.exiting[index] = 0
    self.members[index] = 0
    rest: uint256 = stakePerMessage * limit - bounty
    log Slashed(index=index, receiver=receiver, bounty=bounty, rest=rest)
    money.push(token, receiver, bounty)
    money.push(token, treasury, rest)


@external
@nonreentrant
def requestExit(index: uint256):
    """
    @notice Leave: the leaf is out at once, the stake can be withdrawn after the delay.
    """
    member: uint256 = self.members[index]
    assert member != 0, "no such member"
    assert self._staker(member) == msg.sender, "not the staker"
    assert self._withdrawable_at(member) == 0, "leaving already"
    at: uint256 = block.timestamp + exitDelay
    leaf: uint256 = self.nodes[index]
    self.members[index] = member | (at << 192)
    self.exiting[index] = leaf
    self._clear(index)
    log Removed(index=index, leaf=leaf, slashed=False)
    log ExitRequested(index=index, staker=msg.sender, withdrawableAt=at)


@external
@nonreentrant
def withdraw(index: uint256):
    """
    @notice Send the stake back to the staker, whoever asks.
    """
    member: uint256 = self.members[index]
    assert member != 0, "no such member"
    at: uint256 = self._withdrawable_at(member)
    assert at != 0, "not leaving"
    assert block.timestamp >= at, "too early"
    staker: address = self._staker(member)
    amount: uint256 = stakePerMessage * self._limit(member)
    self.members[index] = 0
    self.exiting[index] = 0
    log Withdrawn(index=index, staker=staker, amount=amount)
    money.push(token, staker, amount)


@external
@nonreentrant
def recordRoot() -> uint256:
    """
    @notice Keep the root as it is now among the last 64, with the time; anyone may. A removal
        forgets all that were kept: of those trees the removed member could still prove.
    """
    root: uint256 = self._root()
    number: uint256 = self.rootCount
    if self.records[root] & MOST_64 == number and number != self.rootsFrom:
        number -= 1  # the last one still: only its time is new
    else:
        self.rootCount = number + 1
        log RootRecorded(root=root, number=number)
    self.records[root] = (number + 1) | (block.timestamp << 64)
    return root


@external
@view
def root() -> uint256:
    """
    @notice The root of the tree as it is.
    """
    return self._root()


@external
@view
def knownRoot(root: uint256) -> bool:
    """
    @notice Whether this is the root now, or among the last 64 recorded since the last removal.
    """
    return self._recorded_at(root) != 0 or root == self._root()


@external
@view
def rootRecordedAt(root: uint256) -> uint256:
    """
    @notice The time at which this root was last recorded; 0 if it is not among those kept.
    """
    return self._recorded_at(root)


@external
@view
def leaf(index: uint256) -> uint256:
    """
    @notice The leaf at `index`; 0 where none was placed or it is out.
    """
    return self.nodes[index] if index < CAPACITY else 0


@external
@view
def member(index: uint256) -> Member:
    """
    @notice Who staked for the leaf at `index`; all 0 where nobody did, or no longer does.
    """
    packed: uint256 = self.members[index]
    return Member(
        staker=self._staker(packed),
        limit=self._limit(packed),
        withdrawableAt=self._withdrawable_at(packed),
    )


@internal
def _append(index: uint256, leaf: uint256):
    """Place a leaf, and every node that it fills."""
    node: uint256 = leaf
    place: uint256 = index
    for level: uint256 in range(DEPTH):
        self.nodes[(level << 32) | place] = node
        if place & 1 == 0:
            return
        node = poseidon.hash2(self.nodes[(level << 32) | (place ^ 1)], node)
        place >>= 1
    self.nodes[DEPTH << 32] = node


@internal
def _clear(index: uint256):
    """Make a leaf 0, forget the recorded roots, and renew the full nodes above it."""
    self.rootsFrom = self.rootCount
    full: uint256 = self.leafCount
    node: uint256 = 0
    place: uint256 = index
    for level: uint256 in range(DEPTH):
        self.nodes[(level << 32) | place] = node
        if place | 1 >= full:  # its parent is not full
            return
        other: uint256 = self.nodes[(level << 32) | (place ^ 1)]
        if place & 1 == 0:
            node = poseidon.hash2(node, other)
        else:
            node = poseidon.hash2(other, node)
        place >>= 1
        full >>= 1
    self.nodes[DEPTH << 32] = node


@internal
@view
def _root() -> uint256:
    """Fold the full nodes, one for each bit of the number of leaves, with empty trees."""
    zeros: uint256[21] = EMPTY
    full: uint256 = self.leafCount
    if full == CAPACITY:
        return self.nodes[DEPTH << 32]
    node: uint256 = 0
    begun: bool = False
    for level: uint256 in range(DEPTH):
        if full & 1 == 1:
            node = poseidon.hash2(self.nodes[(level << 32) | (full - 1)], node)
            begun = True
        elif begun:
            node = poseidon.hash2(node, zeros[level])
        else:
            node = zeros[level + 1]
        full >>= 1
    return node


@internal
@view
def _recorded_at(root: uint256) -> uint256:
    record: uint256 = self.records[root]
    after: uint256 = record & MOST_64  # its number + 1
    if after <= self.rootsFrom or after + HISTORY <= self.rootCount:
        return 0
    return record >> 64


@internal
@pure
def _staker(member: uint256) -> address:
    return convert(member & MOST_160, address)


@internal
@pure
def _limit(member: uint256) -> uint256:
    return (member >> 160) & MOST_32


@internal
@pure
def _withdrawable_at(member: uint256) -> uint256:
    return member >> 192
