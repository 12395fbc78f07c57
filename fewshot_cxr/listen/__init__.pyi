from .destinations import Destination as Destination
from .destinations import parse_destination as parse_destination
from .listener import Listener as Listener
from .receiver import Port as Port
from .tally import Tally as Tally
