"""The demo catalogue: four synthetic collections, each item with its objects.

Everything is invented, deterministic and created without a network. `names` has the ids that README and tests use.
"""

from dev.demo.names import *  # noqa: F403 - all names
from dev.demo.publishing import Catalogue as Catalogue
from dev.demo.publishing import catalogue as catalogue
from dev.demo.publishing import publish as publish
