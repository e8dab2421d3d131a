"""privity: private AI that can be checked."""
