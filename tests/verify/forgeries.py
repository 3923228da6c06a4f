"""Candidates for the tiny pack that compute nothing right, and try to be judged green all the same.

Each is the text of a `stats.py`, and what the verdict says of it: an attack that stumbles before it
gets to its wall proves nothing of the wall. Some bring other files as well.
"""

from __future__ import annotations

WRONG = """
def mean(values):
    return 1.5

def median(values):
    return 1.5
"""
_WRONG_INSIDE = WRONG.replace("\n", "\n    ")
"""The same in a block."""
_MEASURED = r"^1\.5 for 7 fresh numbers"
_ZERO = r"^0(\.0)? for 7 fresh numbers"
"""A forged answer that was taken for one, and is wrong nevertheless."""
_GARBAGE = "the answer is garbage$"
_UNREADABLE = "the answer cannot be read"
_TOO_LARGE = "the answer is larger than"
_UNSENDABLE = "^Unsendable: "
_NOT_FINITE = "^the answer has numbers that are not finite"
_ENDED = "exited with 0 without an answer$"
_LATE = "did not end within 1 s$"
_GONE = "the other side is gone$"
_ZEROS = '{"answer": {"mean": 0.0, "median": 0.0, "refused": true}, "tampered": []}'
_TO_ALL = (
    "import os\nframe = len(body).to_bytes(4, 'big') + bytes(4) + body\n"
    "for fd in range(3, 256):\n    try:\n        os.write(fd, frame)\n"
    "    except OSError:\n        pass\nos._exit(0)\n"
)
"""Writes a frame on whatever is open."""


def forged(message: str) -> str:
    """Return code that has the worker answer with this JSON, whatever it is asked."""
    return (
        f"import struct, sys\nM = ({message}).encode()\n"
        "sys.modules['__main__'].wire.encode = lambda _: struct.pack('>II', len(M), 0) + M\n"
        + WRONG
    )


FOOLING: dict[str, tuple[str, str]] = {
    # the end of the process taken for success
    "ends with exit code 0 at import": ("import os\nos._exit(0)\n", _ENDED),
    "prints a summary of pytest and ends": (
        "import os\nprint('===== 5 passed in 0.01s =====', flush=True)\nos._exit(0)\n",
        _ENDED,
    ),
    "ends with exit code 0 in the function": (
        "import os\ndef mean(values):\n    os._exit(0)\nmedian = mean\n",
        _ENDED,
    ),
    "ends in a finalizer": (
        "import atexit, os\natexit.register(lambda: os._exit(0))\n" + WRONG,
        _MEASURED,
    ),
    # the tools of the judge
    "patches pytest's reports": (
        "try:\n    from _pytest.reports import TestReport\n"
        "    TestReport.passed, TestReport.failed = True, False\n"
        "except ImportError:\n    pass\n" + WRONG,
        _MEASURED,
    ),
    "patches pytest.approx": (
        "try:\n    import pytest\n    pytest.approx = lambda *a, **k: type('E', (), "
        "{'__eq__': lambda s, o: True})()\nexcept ImportError:\n    pass\n" + WRONG,
        _MEASURED,
    ),
    "looks for the session in the garbage collector": (
        "import gc\nfor each in map(type, gc.get_objects()):\n"
        "    if each.__name__ == 'Session':\n"
        "        each.testsfailed = property(lambda s: 0, lambda s, v: None)\n" + WRONG,
        _MEASURED,
    ),
    "is right only where pytest is loaded": (
        "import sys, statistics\n"
        "if '_pytest' in sys.modules:\n    mean, median = statistics.mean, statistics.median\n"
        "else:\n" + _WRONG_INSIDE,
        _MEASURED,
    ),
    "replaces abs": ("import builtins\nbuiltins.abs = lambda v: 0\n" + WRONG, _MEASURED),
    # answers that are equal to everything
    "returns a float that equals everything": (
        "class Any_(float):\n    __eq__ = lambda s, o: True\n    __sub__ = lambda s, o: 0.0\n"
        "    __hash__ = float.__hash__\n"
        "def mean(values):\n    return Any_(0)\nmedian = mean\n",
        _ZERO,
    ),
    "returns an object that equals everything": (
        "class Any_:\n    __eq__ = lambda s, o: True\n"
        "def mean(values):\n    return Any_()\nmedian = mean\n",
        _UNSENDABLE,
    ),
    # the expected value, or the reference
    "steals `expected` from the frames": (
        "import sys\ndef mean(values):\n    frame = sys._getframe()\n    while frame:\n"
        "        if 'expected' in frame.f_locals:\n            return frame.f_locals['expected']\n"
        "        frame = frame.f_back\n    return 1.5\nmedian = mean\n",
        _MEASURED,
    ),
    "imports the reference": (
        "import sys\nsys.path.append('{root}')\n"
        "try:\n    from tests.packs.tiny.reference.stats import mean, median\n"
        "except ImportError:\n" + _WRONG_INSIDE,
        _MEASURED,
    ),
    "reads the reference's file": (
        "try:\n    exec(open('{reference}/stats.py').read())\nexcept OSError:\n" + _WRONG_INSIDE,
        _MEASURED,
    ),
    "looks for the reference in the folders of every process": (
        "import glob\nfound = glob.glob('/proc/[0-9]*/root{reference}/stats.py')\n"
        "try:\n    exec(open(found[0]).read())\nexcept (OSError, IndexError):\n" + _WRONG_INSIDE,
        _MEASURED,
    ),
}
"""Those that a judge in the same process takes for right."""
FORGERIES: dict[str, tuple[str, str]] = FOOLING | {
    "raises SystemExit(0) at import": ("raise SystemExit(0)\n", "^SystemExit: 0$"),
    "looks for the reference on the whole disk": (
        "import glob\nfound = glob.glob('/**/reference/stats.py', recursive=True)\n"
        "try:\n    exec(open(found[0]).read())\nexcept (OSError, IndexError):\n" + _WRONG_INSIDE,
        _MEASURED,
    ),
    # the tools of the worker
    "replaces json.dumps": (
        f"import json\njson.dumps = lambda *a, **k: {_ZEROS!r}\n" + WRONG,
        _ZERO,
    ),
    "replaces os.write": (
        "import os\n_w = os.write\nos.write = lambda fd, data: (_w(fd, b'\\0' * 8), len(data))[1]\n"
        + WRONG,
        _UNREADABLE,
    ),
    "replaces the worker's encoder": (forged(repr(_ZEROS)), _ZERO),
    "replaces the worker's encoder by half a one": (forged(repr(_ZEROS[:-1])), _UNREADABLE),
    "rewrites the probes": (
        "import gc\nfor each in gc.get_objects():\n"
        "    if isinstance(each, dict) and 'mean_of_nothing' in each:\n"
        "        each['mean'] = lambda c, values: {'mean': 2.5}\n" + WRONG,
        _MEASURED,
    ),
    # replies
    "answers with a line that is no number": (
        forged("""'{"raised": {"kind": "E", "text": "", "at": "stats.py:\\u00b2"}}'"""),
        "^E:$",
    ),
    "answers with a line beyond all numbers": (
        forged("""'{"raised": {"kind": "E", "text": "", "at": "stats.py:' + '9' * 5000 + '"}}'"""),
        "^E:$",
    ),
    "answers with a status beyond all numbers": (
        forged("""'{"failed": "ended", "stage": "answering", "status": 1%030d}' % 0"""),
        _GARBAGE,
    ),
    "answers with a stage that no later question can hold": (
        forged("""'{"failed": "time", "stage": "importing %s"}' % ('x' * (1 << 19))"""),
        _GARBAGE,
    ),
    "answers with lines of a file beyond all names": (
        forged("""'{"answer": 1, "tampered": [], "lines": {"%s": [-1]}}' % ('x' * 5000)"""),
        _GARBAGE,
    ),
    "returns a mapping that has everything": (
        "class Every(dict):\n    def __missing__(self, key):\n        return True\n"
        "def mean(values):\n    return Every()\nmedian = mean\n",
        r"^\{\} for 7 fresh numbers",
    ),
    "returns NaN": ("def mean(values):\n    return float('nan')\nmedian = mean\n", _NOT_FINITE),
    "returns infinity": (
        "def mean(values):\n    return float('inf')\nmedian = mean\n",
        _NOT_FINITE,
    ),
    "returns True for everything": (
        "def mean(values):\n    return True\nmedian = mean\n",
        "^True for 7 fresh numbers",
    ),
    "returns the question": (
        "def mean(values):\n    return values\nmedian = mean\n",
        r"^\[.*\] for 7 fresh numbers",
    ),
    "returns a placeholder of a tensor": (
        "def mean(values):\n    return {'$tensor': 't0'}\nmedian = mean\n",
        _UNREADABLE,
    ),
    # the wire
    "writes a forged frame on every file descriptor": (
        f"body = {_ZEROS.encode()!r}\n{_TO_ALL}",
        _ZERO,
    ),
    "writes a reply of a wrong shape": (f"body = b'{{\"raised\": 5}}'\n{_TO_ALL}", _GARBAGE),
    "writes a reply with wrong additions": (
        f'body = b\'{{"answer": {{"mean": 1.5}}, "tampered": 5}}\'\n{_TO_ALL}',
        _GARBAGE,
    ),
    "writes garbage on every file descriptor": (
        "import os\nfor fd in range(256):\n    try:\n"
        "        os.write(fd, b'\\x80' + os.urandom(63))\n"
        "    except OSError:\n        pass\n" + WRONG,
        _TOO_LARGE,
    ),
    "announces an answer of 4 GB": (
        "import os\nfor fd in range(3, 256):\n    try:\n        os.write(fd, b'\\xff' * 8)\n"
        "    except OSError:\n        pass\nos._exit(0)\n",
        _TOO_LARGE,
    ),
    "answers with 8 MB": (
        "def mean(values):\n    return 'x' * 8_000_000\nmedian = mean\n",
        "^Unsendable: 80.* too much for one answer$",
    ),
    "answers with a deep nest": (
        "def mean(values):\n    nest = []\n    for _ in range(100_000):\n        nest = [nest]\n"
        "    return nest\nmedian = mean\n",
        _UNSENDABLE,
    ),
    "answers with a pickle that writes a file": (
        "import pickle\nclass Bomb:\n    def __reduce__(self):\n"
        "        return (eval, (\"open('{canary}', 'w')\",))\n"
        "def mean(values):\n    return pickle.dumps(Bomb()).decode('latin-1')\nmedian = mean\n",
        "builtins eval .* for 7 fresh numbers",
    ),
    "leaves a daemon that answers the next question": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        f"        body = {_ZEROS.encode()!r}\n"
        "        frame = len(body).to_bytes(4, 'big') + bytes(4) + body\n"
        "        for _ in range(400):\n            for fd in range(64):\n"
        "                try:\n                    os.write(fd, frame)\n"
        "                except OSError:\n                    pass\n            time.sleep(0.01)\n"
        "    os._exit(0)\n" + WRONG,
        f"{_MEASURED}|{_ZERO}",  # whoever is faster
    ),
    "ends the worker": (
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n" + WRONG,
        _GONE,
    ),
    "ends everybody": ("import os, signal\nos.kill(-1, signal.SIGKILL)\n" + WRONG, _GONE),
    # time
    "hangs at import": (
        "while True:\n    pass\n",
        _LATE,
    ),
    "hangs, deaf to signals": (
        "import signal\nfor n in range(1, 64):\n    try:\n"
        "        signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError):\n"
        "        pass\ndef mean(values):\n    while True:\n        pass\nmedian = mean\n",
        _LATE,
    ),
    # memory of earlier questions
    "remembers answers in a file": (
        "import json, os\ndef mean(values):\n    path = '/tmp/seen'\n"
        "    seen = open(path).read() if os.path.exists(path) else '1.5'\n"
        "    open(path, 'w').write(str(sorted(values)[len(values) // 2] if values else 0))\n"
        "    return float(seen)\nmedian = mean\n",
        _MEASURED,
    ),
}
"""Name to text, and to a pattern of what the first check says."""

EXTRA_FILES: dict[str, dict[str, str]] = {
    "brings a conftest and a pytest.ini": {
        "conftest.py": (
            "import pytest\n@pytest.hookimpl(hookwrapper=True)\n"
            "def pytest_runtest_makereport(item, call):\n    outcome = yield\n"
            "    outcome.get_result().outcome = 'passed'\n"
        ),
        "pytest.ini": "[pytest]\naddopts = --collect-only\n",
    },
    "brings modules that shadow the judge's": {
        "pytest.py": "raise SystemExit(0)\n",
        "reference.py": "mean = median = lambda values: 1.5\n",
        "sitecustomize.py": "import os\nos._exit(0)\n",
        "json.py": "dumps = lambda *a, **k: '{}'\n",
    },
    "brings a probes.py of its own": {
        "probes.py": (
            "def mean(candidate, values):\n    return {'mean': sum(values) / len(values)}\n"
        )
    },
}
"""Name to files beside a `stats.py` that is WRONG."""
