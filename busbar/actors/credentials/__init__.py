"""The credentials of provider accounts: who has which, for how long, and what comes after a refusal."""
