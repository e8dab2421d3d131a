"""Floor 3: the public record: clients of the contracts in contracts/."""
