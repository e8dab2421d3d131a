# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Moving an ERC-20 token, whatever it returns
@license Apache-2.0
@notice A token may return nothing, or True; False and a revert are failures. What comes in is
    measured, so that a token that keeps a fee is refused rather than booked in full.
"""

from ethereum.ercs import IERC20


@internal
def pull(token: IERC20, sender: address, amount: uint256):
    before: uint256 = staticcall token.balanceOf(self)
    assert extcall token.transferFrom(sender, self, amount, default_return_value=True), "not paid"
    assert staticcall token.balanceOf(self) == before + amount, "paid another amount"


@internal
def push(token: IERC20, receiver: address, amount: uint256):
    assert extcall token.transfer(receiver, amount, default_return_value=True), "not paid out"
