"""What governance needs from the machine: randomness, and the file that it keeps beside its database.

    minting     secrets and ids of keys and groups, from the operating system's random source only
    aws_pair    AWS-shaped pairs for callers that sign, and the seed that their secret halves are derived from

No actor and no request is known here: values in, values out, and one small file.
"""
