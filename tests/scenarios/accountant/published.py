"""What dp-accounting (Google, PyPI) says of discrete Gaussian noise: for each line of multiplier, rounds and
delta the least epsilon that its privacy loss distribution proves, one a line."""

import sys

import dp_accounting
from dp_accounting.pld import pld_privacy_accountant

for line in sys.stdin:
    multiplier, rounds, delta = line.split()
    accountant = pld_privacy_accountant.PLDAccountant(
        neighboring_relation=dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    )
    accountant.compose(dp_accounting.GaussianDpEvent(float(multiplier)), int(rounds))
    print(accountant.get_epsilon(float(delta)))
