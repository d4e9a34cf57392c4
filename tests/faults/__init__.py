"""The fault matrix: real worker processes, real faults, and an oracle outside the database that says what ran when."""
