"""Floor 2: what is left after a job: who was privy to what, signed, checkable by anyone later.

Promise: a receipt that verifies was signed by the keys it names, over exactly the bytes it shows,
and no bit of it can change unnoticed. The enclave signs what it served (`JobReceipt`), the
device signs what it asked for and on what ground it believed the enclave (`DeviceRecord`); a
`ReceiptFile` holds both with the statement they rest on. None of them contains a prompt, an answer
or an address. spec/receipt.md has the wire format and what is not promised.
"""

from privity.receipt.data_integrity import VerifiedDocument, add_proof, verify_proof
from privity.receipt.digest import (
    SALT_BYTES,
    SALT_HEADER,
    BodyDigest,
    decode_salt,
    encode_salt,
    new_salt,
    salt_commitment,
)
from privity.receipt.file import ReceiptFile
from privity.receipt.job import (
    RECEIPT_TRAILER,
    EvidenceRef,
    JobReceipt,
    VerifiedReceipt,
    decode_trailer,
    encode_trailer,
    issue_receipt,
    verify_receipt,
)
from privity.receipt.outcome import Outcome
from privity.receipt.price import Price
from privity.receipt.record import (
    DeviceRecord,
    VerifiedRecord,
    document_digest,
    issue_record,
    verify_record,
)
from privity.receipt.routing import Passed, Routing
from privity.receipt.verify import (
    VerifiedReceiptFile,
    check_claims,
    check_receipt_file,
    verify_receipt_file,
)

__all__ = [
    "RECEIPT_TRAILER",
    "SALT_BYTES",
    "SALT_HEADER",
    "BodyDigest",
    "DeviceRecord",
    "EvidenceRef",
    "JobReceipt",
    "Outcome",
    "Passed",
    "Price",
    "ReceiptFile",
    "Routing",
    "VerifiedDocument",
    "VerifiedReceipt",
    "VerifiedReceiptFile",
    "VerifiedRecord",
    "add_proof",
    "check_claims",
    "check_receipt_file",
    "decode_salt",
    "decode_trailer",
    "document_digest",
    "encode_salt",
    "encode_trailer",
    "issue_receipt",
    "issue_record",
    "new_salt",
    "salt_commitment",
    "verify_proof",
    "verify_receipt",
    "verify_receipt_file",
    "verify_record",
]
