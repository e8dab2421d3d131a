"""What each check proves, and what it does not: one line each, for people."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NOT_BOUND", "Meaning", "meaning_of"]


@dataclass(frozen=True)
class Meaning:
    """What a check is worth.

    Attributes:
        proves: what one may believe if it holds.
        leaves: what it does not prove; empty where the name says it all.
    """

    proves: str
    leaves: str = ""


NOT_BOUND = {
    "tdx": "not bound: attacks on the machine itself (memory buses, chips), other devices in it",
    "sgx": "not bound: attacks on the machine itself, and side channels of the processor",
    "snp": "not bound: attacks on the machine itself (memory buses, chips), other devices in it",
    "nitro": "not bound: Amazon itself, which makes the hardware, vouches for it and owns it",
    "nvidia": "not bound: which processor this GPU works for; that is as good as the measured code "
    "that asked it, and so is the link between them",
    "dev": "not bound: anything. This is plain software, and its host can do as it likes",
}
"""By kind of evidence: what no check of it covers."""

_MEANINGS = {
    "format": Meaning("it can be read in one way alone", "anything about who wrote it"),
    "nonce": Meaning("it answers this challenge, so it is not a recording"),
    "beacon": Meaning(
        "it states a period that this moment is in", "freshness beyond the enclave's own clock"
    ),
    "evidence kind": Meaning("the rules it is judged by are known"),
    "evidence format": Meaning("it is of its kind's form"),
    "endorsement kind": Meaning("nothing came along that nobody looked at"),
    "certificate chain": Meaning(
        "the vendor's root vouches for the key that signed this", "that the vendor is honest"
    ),
    "certificate period": Meaning("every certificate was valid at that time"),
    "revocation": Meaning("the vendor had not revoked it, as of the lists given"),
    "collateral": Meaning("the vendor's own statements about this platform are there and current"),
    "signature": Meaning("this very hardware signed this very report, and no bit was changed"),
    "measurements": Meaning("the report holds what the device measured, block by block"),
    "tcb status": Meaning(
        "the vendor grades this platform's firmware good enough for your policy",
        "that the firmware has no fault nobody knows yet",
    ),
    "tcb floor": Meaning("no part of the firmware is older than your policy allows"),
    "platform": Meaning("the platform is run as your policy allows"),
    "attributes": Meaning("nothing is switched on in it that would let the host in"),
    "quoting enclave": Meaning("Intel's own quoting enclave signed, in a version it approves"),
    "architecture": Meaning("the device is of a kind known here"),
    "firmware id": Meaning("the firmware that signed is the one the certificate is for"),
    "stated nonce": Meaning("the file agrees with itself", "that it is fresh"),
    "log format": Meaning("the log's proof can be read"),
    "reference format": Meaning("the approval can be read"),
    "reference programs": Meaning("the program it runs is among those of the approval"),
    "debug": Meaning("nobody can look into it by a debugger"),
    "migration": Meaning("no agent can move it to another machine"),
    "vmpl": Meaning("the report was asked for at a privilege level your policy accepts"),
    "policy": Meaning("the guest was started under rules that keep the host out"),
    "chip": Meaning("the report is of what the certificate is for"),
    "measurement": Meaning("the firmware is what its maker published"),
    "event log": Meaning("what was started is what the hardware recorded, step by step"),
    "compose hash": Meaning("the containers it runs are those of the given compose file"),
    "key binding": Meaning("the keys belong to what was measured, and to nobody else"),
    "reference value": Meaning(
        "someone you trust approved the code that was measured", "that the code has no fault"
    ),
    "reference signature": Meaning("a signer you trust signed the approval"),
    "reference period": Meaning("the approval was good at that time"),
    "reference revoked": Meaning("the approval was not taken back, as far as this device knows"),
    "reference models": Meaning("the weights are those of the approval"),
    "log signature": Meaning("a log you trust signed its state"),
    "log entry": Meaning("the log's entry is of these very keys, and of this time"),
    "log inclusion": Meaning("the entry is in the log, where everyone can see it"),
    "log witnesses": Meaning("others saw the same log", "that the witnesses do not collude"),
    "log age": Meaning("the log's state is recent"),
    "log consistency": Meaning("the log only grew since this device last saw it"),
    "log split view": Meaning("the log shows this device what it showed before"),
    "endorsement root": Meaning("a development root you listed vouches for it"),
    "quoting key": Meaning("the key that signed is the one endorsed"),
    "quote signature": Meaning("the quote was not altered", "anything about hardware"),
    "quote time": Meaning("it is recent, by the clock of whoever made it"),
}


_OF_KIND = {
    ("snp", "tcb status"): Meaning(
        "the firmware that the key is for is the one that was committed, and started the guest",
        "that it has no known fault: AMD publishes no grades, so a floor in your policy is yours",
    ),
    ("snp", "chip"): Meaning(
        "the report is of the chip (VCEK), or of a machine of the cloud (VLEK), that was certified"
    ),
    ("nvidia", "chip"): Meaning("report and certificate are of one make, and it is known here"),
    ("nvidia", "collateral"): Meaning("the maker signed the reference manifests given"),
    ("dev", "quote signature"): Meaning("the quote was not altered", "anything about hardware"),
}


def meaning_of(check: str, kind: str = "") -> Meaning | None:
    """Return what a check of a kind of evidence is worth.

    None for one that has no more to say than its detail.
    """
    return _OF_KIND.get((kind, check)) or _MEANINGS.get(check)
