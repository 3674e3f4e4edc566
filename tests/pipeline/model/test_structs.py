"""Structs that several threads decode at once for the first time."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading, types
import msgspec
from pipeline.model.structs import ready
sys.setswitchinterval(1e-6)
source = "from __future__ import annotations\\nimport msgspec\\n" + "".join(
    f"class I{i}(msgspec.Struct):\\n    a: int = 0\\n    b: list[str] = []\\n    c: dict[str, int | None] = {{}}\\n" for i in range(30)
) + "class S(msgspec.Struct):\\n" + "".join(f"    f{i}: I{i} | None = None\\n" for i in range(30))
kept = []
for n in range(40):
    module = types.ModuleType(f"made{n}")
    sys.modules[module.__name__] = module
    exec(source, module.__dict__)
    kept.append(module)
ready()
for module in kept:
    together = threading.Barrier(6)
    def go():
        together.wait()
        msgspec.json.decode(b'{"f29":{"a":1,"b":["x"],"c":{"z":null}},"f0":{"a":2}}', type=module.S)
    threads = [threading.Thread(target=go) for _ in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
"""


def test_threads_that_decode_a_new_struct_at_once_do_not_end_the_process():
    assert subprocess.run([sys.executable, "-c", PROGRAM], check=False, timeout=120).returncode == 0


def test_every_struct_of_the_product_can_be_made_ready():
    import exporters.service
    import exporters.web.site  # noqa: F401 - everything the service imports
    from pipeline.model.structs import ready

    ready()
    ready()
