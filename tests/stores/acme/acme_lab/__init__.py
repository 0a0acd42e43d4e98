"""What the lab is told of the store before its module is imported."""

from lab.stores import StoreSpec

SPEC = StoreSpec(
    "acme.pickle", "acme_lab.store:Pickled", "toy", "one file, written anew", "#A0522D", packages=("acme-lab",)
)
