# pragma version 0.4.3
# pragma evm-version cancun
"""
@title A token that says False, keeps a fee, or calls somebody while it moves money
"""

balanceOf: public(HashMap[address, uint256])
answer: public(bool)
fee: public(uint256)
target: public(address)
message: public(Bytes[1024])
reentered: public(uint256)  # 0 not tried, 1 refused, 2 succeeded


@deploy
def __init__():
    self.answer = True


@external
def behave(answer: bool, fee: uint256, target: address, message: Bytes[1024]):
    self.answer = answer
    self.fee = fee
    self.target = target
    self.message = message
    self.reentered = 0


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount


@external
def transfer(receiver: address, amount: uint256) -> bool:
    return self._move(msg.sender, receiver, amount)


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    return self._move(sender, receiver, amount)


@internal
def _move(sender: address, receiver: address, amount: uint256) -> bool:
    if not self.answer:
        return False
    if self.target != empty(address):
        success: bool = raw_call(self.target, self.message, revert_on_failure=False)
        self.reentered = 2 if success else 1
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount - self.fee
    return True
