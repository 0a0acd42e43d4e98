"""The contracts over what the package registers, as its own tests would have them."""

from acme_lab.meters import METERS
from acme_lab.store import Pickled

from lab.testing import domain_contract, store_contract

test_store = store_contract(Pickled, examples=5)
test_domain = domain_contract(METERS)
