"""What every test gets."""

import logging

# The client repeats itself while a broker is away; a failed test must stay readable.
logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)
