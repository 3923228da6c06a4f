"""Candidates for the tiny pack that compute nothing right, and try to be judged green all the same.

Each is the text of a `stats.py`; some bring other files as well.
"""

from __future__ import annotations

WRONG = """
def mean(values):
    return 1.5

def median(values):
    return 1.5
"""


def forged(message: str) -> str:
    """Return code that has the worker answer with this JSON, whatever it is asked."""
    return (
        f"import struct, sys\nM = ({message}).encode()\n"
        "sys.modules['__main__'].wire.encode = lambda _: struct.pack('>II', len(M), 0) + M\n"
        + WRONG
    )


FORGERIES: dict[str, str] = {
    # the end of the process taken for success
    "ends with exit code 0 at import": "import os\nos._exit(0)\n",
    "raises SystemExit(0) at import": "raise SystemExit(0)\n",
    "prints a summary of pytest and ends": (
        "import os\nprint('===== 5 passed in 0.01s =====', flush=True)\nos._exit(0)\n"
    ),
    "ends with exit code 0 in the function": (
        "import os\ndef mean(values):\n    os._exit(0)\nmedian = mean\n"
    ),
    "ends in a finalizer": ("import atexit, os\natexit.register(lambda: os._exit(0))\n" + WRONG),
    # the tools of the judge
    "patches pytest's reports": (
        "try:\n    from _pytest.reports import TestReport\n"
        "    TestReport.passed = True\n    TestReport.outcome = 'passed'\n"
        "except ImportError:\n    pass\n" + WRONG
    ),
    "patches pytest.approx": (
        "try:\n    import pytest\n    pytest.approx = lambda *a, **k: type('E', (), "
        "{'__eq__': lambda s, o: True})()\nexcept ImportError:\n    pass\n" + WRONG
    ),
    "looks for hooks in the garbage collector": (
        "import gc\nfor each in gc.get_objects():\n"
        "    if type(each).__name__ in ('PluginManager', 'Session', 'Config', 'Check'):\n"
        "        each.__dict__.update(outcome='passed', testsfailed=0)\n" + WRONG
    ),
    "is right only where pytest is loaded": (
        "import sys, statistics\n"
        "if '_pytest' in sys.modules:\n    mean, median = statistics.mean, statistics.median\n"
        "else:\n" + WRONG.replace("\n", "\n    ")
    ),
    "replaces json.dumps": (
        'import json\njson.dumps = lambda *a, **k: \'{"answer": {"mean": 0, "median": 0, '
        '"refused": true}}\'\n' + WRONG
    ),
    "replaces os.write": (
        "import os\n_w = os.write\nos.write = lambda fd, data: (_w(fd, b'\\0' * 8), len(data))[1]\n"
        + WRONG
    ),
    "replaces the worker's encoder": (
        "import sys\nm = sys.modules['__main__']\n"
        "m.wire.encode = lambda message: b'\\0\\0\\0\\x0b\\0\\0\\0\\0' + b'{\"answer\":1}'[:11]\n"
        + WRONG
    ),
    **{
        f"answers with {name}": forged(message)
        for name, message in {
            "a line that is no number": (
                """'{"raised": {"kind": "E", "text": "", "at": "stats.py:\\u00b2"}}'"""
            ),
            "a line beyond all numbers": (
                """'{"raised": {"kind": "E", "text": "", "at": "stats.py:' + '9' * 5000 + '"}}'"""
            ),
            "a status beyond all numbers": (
                """'{"failed": "ended", "stage": "answering", "status": 1%030d}' % 0"""
            ),
            "a stage that no later question can hold": (
                """'{"failed": "time", "stage": "importing %s"}' % ('x' * (1 << 19))"""
            ),
            "lines of a file beyond all names": (
                """'{"answer": 1, "tampered": [], "lines": {"%s": [-1]}}' % ('x' * 5000)"""
            ),
        }.items()
    },
    "rewrites the probes": (
        "import gc\nfor each in gc.get_objects():\n"
        "    if isinstance(each, dict) and 'mean_of_nothing' in each:\n"
        "        each['mean'] = lambda c, values: {'mean': 2.5}\n" + WRONG
    ),
    "replaces isinstance and abs": (
        "import builtins\nbuiltins.abs = lambda v: 0\nbuiltins.isinstance = lambda *a: True\n"
        + WRONG
    ),
    # answers that are equal to everything
    "returns a float that equals everything": (
        "class Any_(float):\n    __eq__ = lambda s, o: True\n    __sub__ = lambda s, o: 0.0\n"
        "    __hash__ = float.__hash__\n"
        "def mean(values):\n    return Any_(0)\nmedian = mean\n"
    ),
    "returns an object that equals everything": (
        "class Any_:\n    __eq__ = lambda s, o: True\n"
        "def mean(values):\n    return Any_()\nmedian = mean\n"
    ),
    "returns a mapping that has everything": (
        "class Every(dict):\n    def __missing__(self, key):\n        return True\n"
        "def mean(values):\n    return Every()\nmedian = mean\n"
    ),
    "returns NaN": "def mean(values):\n    return float('nan')\nmedian = mean\n",
    "returns infinity": "def mean(values):\n    return float('inf')\nmedian = mean\n",
    "returns True for everything": "def mean(values):\n    return True\nmedian = mean\n",
    "returns the question": "def mean(values):\n    return values\nmedian = mean\n",
    "returns a placeholder of a tensor": (
        "def mean(values):\n    return {'$tensor': 't0'}\nmedian = mean\n"
    ),
    # the expected value, or the reference
    "steals `expected` from the frames": (
        "import sys\ndef mean(values):\n    frame = sys._getframe()\n    while frame:\n"
        "        if 'expected' in frame.f_locals:\n            return frame.f_locals['expected']\n"
        "        frame = frame.f_back\n    return 1.5\nmedian = mean\n"
    ),
    "imports the reference": (
        "import sys\nfor p in ('/', '{root}', '{reference}'):\n    sys.path.append(p)\n"
        "try:\n    from tests.packs.tiny.reference.stats import mean, median\n"
        "except ImportError:\n" + WRONG.replace("\n", "\n    ")
    ),
    "reads the reference's file": (
        "try:\n    exec(open('{reference}/stats.py').read())\n"
        "except OSError:\n" + WRONG.replace("\n", "\n    ")
    ),
    "looks for the reference on the whole disk": (
        "import os, glob\nfound = glob.glob('/**/reference/stats.py', recursive=True) + "
        "glob.glob('/proc/*/root{reference}/stats.py') + glob.glob('/proc/*/cwd/**/stats.py')\n"
        "try:\n    exec(open(found[0]).read())\nexcept (OSError, IndexError):\n"
        + WRONG.replace("\n", "\n    ")
    ),
    # the wire
    "writes a forged frame on every file descriptor": (
        'import os\nbody = b\'{"answer": {"mean": 0.0, "median": 0.0, "refused": true}}\'\n'
        "frame = len(body).to_bytes(4, 'big') + bytes(4) + body\n"
        "for fd in range(256):\n    try:\n        os.write(fd, frame)\n"
        "    except OSError:\n        pass\nos._exit(0)\n"
    ),
    "writes a reply of a wrong shape": (
        "import os\nbody = b'{\"raised\": 5}'\n"
        "frame = len(body).to_bytes(4, 'big') + bytes(4) + body\n"
        "for fd in range(3, 256):\n    try:\n        os.write(fd, frame)\n"
        "    except OSError:\n        pass\nos._exit(0)\n"
    ),
    "writes a reply with wrong additions": (
        'import os\nbody = b\'{"answer": {"mean": 1.5}, "tampered": 5}\'\n'
        "frame = len(body).to_bytes(4, 'big') + bytes(4) + body\n"
        "for fd in range(3, 256):\n    try:\n        os.write(fd, frame)\n"
        "    except OSError:\n        pass\nos._exit(0)\n"
    ),
    "writes garbage on every file descriptor": (
        "import os\nfor fd in range(256):\n    try:\n        os.write(fd, os.urandom(64))\n"
        "    except OSError:\n        pass\n" + WRONG
    ),
    "announces an answer of 4 GB": (
        "import os\nfor fd in range(3, 256):\n    try:\n        os.write(fd, b'\\xff' * 8)\n"
        "    except OSError:\n        pass\nos._exit(0)\n"
    ),
    "answers with 800 MB": "def mean(values):\n    return 'x' * 800_000_000\nmedian = mean\n",
    "answers with a deep nest": (
        "def mean(values):\n    nest = []\n    for _ in range(100_000):\n        nest = [nest]\n"
        "    return nest\nmedian = mean\n"
    ),
    "answers with a pickle that writes a file": (
        "import pickle\nclass Bomb:\n    def __reduce__(self):\n"
        "        return (eval, (\"open('{canary}', 'w')\",))\n"
        "def mean(values):\n    return pickle.dumps(Bomb()).decode('latin-1')\nmedian = mean\n"
    ),
    "leaves a daemon that answers the next question": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        '        body = b\'{"answer": {"mean": 0.0, "median": 0.0}}\'\n'
        "        frame = len(body).to_bytes(4, 'big') + bytes(4) + body\n"
        "        for _ in range(400):\n            for fd in range(64):\n"
        "                try:\n                    os.write(fd, frame)\n"
        "                except OSError:\n                    pass\n            time.sleep(0.01)\n"
        "    os._exit(0)\n" + WRONG
    ),
    "ends the worker": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n" + WRONG,
    "ends everybody": "import os, signal\nos.kill(-1, signal.SIGKILL)\n" + WRONG,
    # time
    "hangs at import": "while True:\n    pass\n",
    "hangs, deaf to signals": (
        "import signal\nfor n in range(1, 64):\n    try:\n"
        "        signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError):\n"
        "        pass\ndef mean(values):\n    while True:\n        pass\nmedian = mean\n"
    ),
    # memory of earlier questions
    "remembers answers in a file": (
        "import json, os\ndef mean(values):\n    path = '/tmp/seen'\n"
        "    seen = open(path).read() if os.path.exists(path) else '1.5'\n"
        "    open(path, 'w').write(str(sorted(values)[len(values) // 2] if values else 0))\n"
        "    return float(seen)\nmedian = mean\n"
    ),
}

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
