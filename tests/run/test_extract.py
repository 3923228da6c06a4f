"""Real and adversarial replies; every expected value was written by hand from the rules."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from promptqueue.queue.model import Output
from promptqueue.run.extract import Extraction, IssueKind, extract_modules

MODEL = Output(path="model.py")
NET = Output(path="model.py", symbols=("Net",))
UTILS = Output(path="utils.py")
CODE = "class Net:\n    pass\n"
FENCED = f"```python\n{CODE}```\n"


@dataclass
class Case:
    """A reply and what must come of it."""

    reply: str
    files: dict[str, str] = field(default_factory=dict)
    issues: list[str] = field(default_factory=list)
    """Kinds in their order, the fatal ones in capitals."""
    outputs: tuple[Output, ...] = (MODEL, UTILS)
    found_by: str | None = None
    finish: str = "stop"


def taken(reply: str, by: str, text: str = CODE, **more) -> Case:
    """A reply that brings model.py as it should (utils.py is not asked for, unless given)."""
    more.setdefault("outputs", (MODEL,))
    return Case(reply, {"model.py": text}, found_by=by, **more)


def kinds(extraction: Extraction) -> list[str]:
    return [i.kind.name if i.fatal else i.kind.name.lower() for i in extraction.issues]


def info(words: str) -> Case:
    # A second block keeps the rule of the sole output out of it.
    return taken(f"```{words}\n{CODE}```\n\n```\nx\n```\n", "info", issues=["unattributed"])


def above(line: str) -> Case:
    return taken(f"{line}\n{FENCED}\n{FENCED}", "line above", issues=["unattributed"])


def first(line: str, language: str = "python") -> Case:
    text = f"{line}\n{CODE}"
    return taken(
        f"```{language}\n{text}```\n\n{FENCED}", "first line", text, issues=["unattributed"]
    )


def nobody(line: str) -> Case:
    """A line above that names nothing."""
    return Case(f"{line}\n{FENCED}", issues=["unattributed", "MISSING", "MISSING"])


DOCSTRING = '"""Doc.\n\n```python\nx = 1\n```\n\nand\n\n```\ny\n```\n"""\n\nx = 2\n'
SECOND = "import os\n\n\ndef g():\n    return os\n"

CASES = {
    # -- the info string
    "info path=": info("python path=model.py"),
    "info path quoted": info('python path="model.py"'),
    "info path in single quotes": info("python path='model.py'"),
    "info file=": info("py file=model.py"),
    "info filename=": info("python filename=model.py"),
    "info title=": info('python title="model.py"'),
    "info language:path": info("python:model.py"),
    "info language path": info("python model.py"),
    "info short language:path": info("py:model.py"),
    "info file: path": info("file: model.py"),
    "info bare path": info("model.py"),
    "info leading ./": info("python path=./model.py"),
    "info in braces": info('{.python file="model.py"}'),
    "info with commas": info("python,path=model.py"),
    "info after a title": info('python title="The net" path=model.py'),
    "info wins over the line above": taken(
        f"**utils.py**\n```python path=model.py\n{CODE}```\n", "info"
    ),
    "info wins over the first line": taken(
        f"```python path=model.py\n# utils.py\n{CODE}```\n", "info", f"# utils.py\n{CODE}"
    ),
    "a command in the info string is no file": Case(
        "```bash python model.py\nx = 1\n```\n", issues=["MISSING"], outputs=(MODEL,)
    ),
    "a diff is no file": Case(
        "```diff path=model.py\n-x\n+y\n```\n", issues=["MISSING"], outputs=(MODEL,)
    ),
    # -- the line above
    "above bold": above("**model.py**"),
    "above heading": above("### model.py"),
    "above code span": above("`model.py`:"),
    "above File:": above("File: model.py"),
    "above Файл:": above("Файл: model.py"),
    "above comment": above("# file: model.py"),
    "above numbered": above("### 2. `model.py`"),
    "above list item": above("- **model.py**"),
    "above with a blank line": above("**model.py**\n"),
    "above link": above("[model.py](./model.py)"),
    "above sentence": above("Here is the code for model.py:"),
    "above Russian sentence": above("Вот содержимое файла `model.py`."),
    "above wins over the first line": taken(
        f"**model.py**\n```python\n# utils.py\n{CODE}```\n", "line above", f"# utils.py\n{CODE}"
    ),
    "first line wins over a sentence": taken(
        f"It uses utils.py.\n```python\n# model.py\n{CODE}```\n",
        "first line",
        f"# model.py\n{CODE}",
        outputs=(MODEL, UTILS),
        issues=["MISSING"],
    ),
    "above prose without a path": nobody("Save it and Run it"),
    "above two paths": nobody("Here are model.py and utils.py:"),
    "above another file's sentence": nobody("As data.csv shows:"),
    "above too far": nobody("**model.py** follows.\n\n\n\n"),
    "above is part of another word": nobody("See mymodel.py.bak now"),
    "above a shell block": Case(
        "Run model.py like this:\n```bash\npython model.py\n```\n",
        issues=["MISSING", "MISSING"],
    ),
    "above label of an undeclared file": Case(
        f"**helpers.py**\n{FENCED}", issues=["undeclared", "MISSING"], outputs=(MODEL,)
    ),
    "above numbered label of an undeclared file": Case(
        f"### 2. helpers.py\n{FENCED}", issues=["undeclared", "MISSING"], outputs=(MODEL,)
    ),
    "above nothing": Case("**model.py**\n", issues=["MISSING"], outputs=(MODEL,)),
    "above is the end of the block before": Case(
        f"```python path=utils.py\nx = 1\n```\n{FENCED}",
        {"utils.py": "x = 1\n"},
        ["unattributed", "MISSING"],
    ),
    # -- the first line
    "first comment": first("# model.py"),
    "first comment file:": first("# file: model.py"),
    "first comment path=": first("# path=model.py"),
    "first slashes": Case(
        "```js\n// app.js\nlet x = 1;\n```\n\n```js\ny\n```\n",
        {"app.js": "// app.js\nlet x = 1;\n"},
        ["unattributed"],
        (Output(path="app.js"),),
        "first line",
    ),
    "first markup comment": Case(
        "```html\n<!-- index.html -->\n<p>\n```\n\n```html\n<b>\n```\n",
        {"index.html": "<!-- index.html -->\n<p>\n"},
        ["unattributed"],
        (Output(path="index.html"),),
        "first line",
    ),
    "first docstring": first('"""model.py"""'),
    "first docstring over lines": first('"""\nmodel.py\n\nThe net.\n"""'),
    "first after a shebang": first("#!/usr/bin/env python\n# model.py"),
    "first comment of another language": taken(
        f"```python\n# config.json\n{CODE}```\n", "sole output", f"# config.json\n{CODE}"
    ),
    "first comment that tells a story": Case(
        f"```python\n# model.py is imported here\n{CODE}```\n",
        issues=["unattributed", "MISSING", "MISSING"],
    ),
    # -- the sole output
    "sole block": taken(FENCED, "sole output"),
    "sole block without language": taken(f"```\n{CODE}```\n", "sole output"),
    "sole python block among others": taken(
        f"```bash\npip install x\n```\n\n{FENCED}\n```\nloss 0.1\n```\n",
        "sole output",
        issues=["unattributed"],
    ),
    "sole block with the symbols": taken(
        f"{FENCED}\n```python\nfrom model import Net2\n```\n",
        "sole output",
        issues=["unattributed"],
        outputs=(NET,),
    ),
    "sole of two that could be": Case(
        f"{FENCED}\n```python\nx = 1\n```\n",
        issues=["unattributed", "unattributed", "MISSING"],
        outputs=(MODEL,),
    ),
    "sole shell block": Case("```bash\nx=1\n```\n", issues=["MISSING"], outputs=(MODEL,)),
    "sole console block": Case("```console\nx = 1\n```\n", issues=["MISSING"], outputs=(MODEL,)),
    "sole text block": Case("```text\nx = 1\n```\n", issues=["MISSING"], outputs=(MODEL,)),
    "sole json block": Case("```json\n[1]\n```\n", issues=["MISSING"], outputs=(MODEL,)),
    "sole block, but two outputs": Case(
        FENCED, issues=["unattributed", "MISSING", "MISSING"], outputs=(MODEL, UTILS)
    ),
    "nobody's block, one of two outputs fits": Case(
        FENCED,
        issues=["unattributed", "MISSING", "MISSING"],
        outputs=(MODEL, Output(path="conf.toml")),
    ),
    # -- paths
    "path undeclared": Case(
        f"```python path=net.py\n{CODE}```\n", issues=["undeclared", "MISSING"], outputs=(MODEL,)
    ),
    "path in a folder": Case(
        f"```python path=src/model.py\n{CODE}```\n",
        issues=["undeclared", "MISSING"],
        outputs=(MODEL,),
    ),
    "path with other capitals": Case(
        f"```python path=Model.py\n{CODE}```\n", issues=["undeclared", "MISSING"], outputs=(MODEL,)
    ),
    **{
        f"path unsafe {path}": Case(
            f"```python path={path}\n{CODE}```\n",
            issues=["unsafe_path", "MISSING"],
            outputs=(MODEL,),
        )
        for path in (
            "/etc/model.py",
            "../model.py",
            "a/../model.py",
            "C:\\model.py",
            "C:/model.py",
            "a\\model.py",
            "~/model.py",
            "file:///model.py",
        )
    },
    "path unsafe in a bare info": Case(
        f"```python:/etc/model.py\n{CODE}```\n",
        issues=["unsafe_path", "MISSING"],
        outputs=(MODEL,),
    ),
    "path unsafe, a bare drive": Case(
        f"```C:\\model.py\n{CODE}```\n", issues=["unsafe_path", "MISSING"], outputs=(MODEL,)
    ),
    "path unsafe in the first line": Case(
        f"```python\n# /home/user/model.py\n{CODE}```\n",
        issues=["unsafe_path", "MISSING"],
        outputs=(MODEL,),
    ),
    # -- thoughts
    "thoughts are removed": taken(
        f"<think>\n```python path=model.py\nold = 1\n```\n</think>\n```python path=model.py\n"
        f"{CODE}```\n",
        "info",
    ),
    "thoughts twice, other tag": taken(
        f"\n<Think>a</think>\n<thinking>b</think></thinking>\n{FENCED}", "sole output"
    ),
    "thoughts without end": Case(
        f"<think>\n```python path=model.py\n{CODE}```\n", issues=["MISSING"], outputs=(MODEL,)
    ),
    "the word think inside a file": taken(
        '```python path=model.py\nTAG = "<think>"\nEND = "</think>"\n```\n',
        "info",
        'TAG = "<think>"\nEND = "</think>"\n',
    ),
    # -- lines and fences
    "CRLF": taken(f"```python path=model.py\n{CODE}```\n".replace("\n", "\r\n"), "info"),
    "lone CR": taken(f"```python path=model.py\n{CODE}```\n".replace("\n", "\r"), "info"),
    "byte order marks": taken(f"\ufeff```python path=model.py\n\ufeff{CODE}```\n", "info"),
    "other line separators stay": taken(
        "```python path=model.py\nx = '\x0c\x1c\u2028'\n```\n", "info", "x = '\x0c\x1c\u2028'\n"
    ),
    "tildes": taken(f"~~~python path=model.py\n{CODE}~~~\n", "info"),
    "a tilde does not close backticks": taken(
        '```python path=model.py\nx = """\n~~~\n"""\n```\n', "info", 'x = """\n~~~\n"""\n'
    ),
    "longer fence": taken(
        '`````python path=model.py\nx = """\n```\n"""\n`````\n', "info", 'x = """\n```\n"""\n'
    ),
    "a shorter fence does not close": taken(
        "````python path=model.py\n1 +\n```\n````\n",
        "info",
        "1 +\n```\n",
        issues=["SYNTAX"],
    ),
    "closing fence longer than the opening": taken(
        f"```python path=model.py\n{CODE}`````\n", "info"
    ),
    "closing fence with blanks": taken(f"```python path=model.py\n{CODE}  ```  \n", "info"),
    "closing fence behind three blanks": taken(
        f"```python path=model.py\n{CODE}   ```\nEnd", "info"
    ),
    "four blanks before a fence do not close": taken(
        "```python path=model.py\n1 +\n    ```\n```\n",
        "info",
        "1 +\n    ```\n",
        issues=["SYNTAX"],
    ),
    "in a list": taken(
        "- the file:\n\n  ```python path=model.py\n  class Net:\n      pass\n  ```\n", "info"
    ),
    "on a list mark": taken(
        "1. ```python path=model.py\n   class Net:\n       pass\n   ```\n", "info"
    ),
    "on a list mark, body at the margin": taken(
        f"- ```python path=model.py\n{CODE}  ```\n", "info"
    ),
    "deep in a list": taken(
        "1. a\n   - b\n\n      ```python path=model.py\n      class Net:\n          pass\n"
        "      ```\n",
        "info",
    ),
    "in a quote": taken(
        "> ```python path=model.py\n> class Net:\n>\n>     pass\n> ```\n",
        "info",
        "class Net:\n\n    pass\n",
    ),
    "in a quote without blanks": taken(
        ">```python path=model.py\n>class Net:\n>    pass\n>```\n", "info"
    ),
    "in a quote that ends early": taken(
        "> ```python path=model.py\n> class Net:\n>     pass\n\nThat is all.\n", "info"
    ),
    "a quoted fence around a body that is not": taken(
        f"> ```python path=model.py\n{CODE}```\n", "info"
    ),
    "inline code is no fence": taken(f"Use ```x``` here.\n```x``` too\n{FENCED}", "sole output"),
    # -- which fence closes
    "fences in a docstring": taken(f"```python path=model.py\n{DOCSTRING}```\n", "info", DOCSTRING),
    "fences in a docstring, no path": taken(
        f"```python\n{DOCSTRING}```\n", "sole output", DOCSTRING
    ),
    "fences in a docstring, no language": Case(
        f"```\n# model.py\n{DOCSTRING}```\n\nand\n\n```\n# utils.py\nx = 1\n```\n",
        {"model.py": f"# model.py\n{DOCSTRING}", "utils.py": "# utils.py\nx = 1\n"},
    ),
    "fences in a docstring, neither path nor language": taken(
        f"```\n{DOCSTRING}```\n", "sole output", DOCSTRING
    ),
    "a script without definitions": taken(
        '```python path=model.py\n"""\n```\n"""\nprint(1)\n```\n',
        "info",
        '"""\n```\n"""\nprint(1)\n',
    ),
    "a shorter named fence inside a closed block": Case(
        "````python path=model.py\nx = 1\n```python path=utils.py\ny = 1\n```\n````\n",
        {"model.py": "x = 1\n```python path=utils.py\ny = 1\n```\n"},
        ["MISSING", "SYNTAX"],
    ),
    "nothing parses": taken(
        "```python path=model.py\ndef f(:\n```\nSome words.\n```\nx\n```\n",
        "info",
        "def f(:\n",
        issues=["unattributed", "SYNTAX"],
    ),
    "never across a named fence": Case(
        "```python path=model.py\nx = '''\n```python path=utils.py\ny = '''\n```\n",
        {"model.py": "x = '''\n", "utils.py": "y = '''\n"},
        ["SYNTAX", "SYNTAX"],
    ),
    "closing fence forgotten before a named fence": Case(
        f"```python path=model.py\n{CODE}\n**utils.py**\n\n```python path=utils.py\n{SECOND}```\n",
        {"model.py": CODE, "utils.py": SECOND},
    ),
    "closing fence forgotten before a label": Case(
        f"**model.py**\n```python\n{CODE}\n**utils.py**\n```python\n{SECOND}```\n",
        {"model.py": CODE, "utils.py": SECOND},
    ),
    "longer fence never closed": Case(
        f"````python path=model.py\n1 +\n```python path=utils.py\n{SECOND}```\n",
        {"model.py": "1 +\n", "utils.py": SECOND},
        ["SYNTAX"],
    ),
    "JSON": Case(
        '```json path=a.json\n{"a": 1}\n```\n',
        {"a.json": '{"a": 1}\n'},
        outputs=(Output(path="a.json"),),
    ),
    "fences in Markdown": Case(
        "```markdown path=README.md\n# T\n\n```bash\nmake\n```\n\nend\n```\n\nDone.\n",
        {"README.md": "# T\n\n```bash\nmake\n```\n\nend\n"},
        outputs=(Output(path="README.md"),),
    ),
    # -- left open
    "open at the end, whole": taken(f"```python path=model.py\n{CODE}", "info"),
    "open at the end, broken": taken(
        "```python path=model.py\ndef f(", "info", "def f(\n", issues=["TRUNCATED"]
    ),
    "open at the limit, though it parses": taken(
        f"```python path=model.py\n{CODE}", "info", issues=["TRUNCATED"], finish="length"
    ),
    "closed before the limit": taken(
        f"```python path=model.py\n{CODE}```\nThis is", "info", finish="length"
    ),
    "open at the limit without a body": Case(
        "```python path=model.py\n",
        issues=["TRUNCATED", "MISSING"],
        outputs=(MODEL,),
        finish="length",
    ),
    "open at the limit, nobody's": Case(
        f"```python path=model.py\n{CODE}```\n```python\nx = (",
        {"model.py": CODE},
        ["unattributed", "truncated"],
        (MODEL,),
        finish="length",
    ),
    "empty block": Case("```python path=model.py\n\n```\n", issues=["MISSING"], outputs=(MODEL,)),
    # -- what the small model does
    "opening fence missing": taken(
        f"# file: model.py\n{CODE}```\n\nThat is the net.\n",
        "first line",
        f"# file: model.py\n{CODE}",
    ),
    "opening fence missing, fences in a docstring": taken(
        f"# file: model.py\n{DOCSTRING}```\n", "first line", f"# file: model.py\n{DOCSTRING}"
    ),
    "opening fence missing, broken": taken(
        "# file: model.py\nimport os\ndef f(:\n```\nDone.\n",
        "first line",
        "# file: model.py\nimport os\ndef f(:\n",
        issues=["SYNTAX"],
    ),
    "opening fence missing, cut": taken(
        "# file: model.py\nimport os\ndef f(",
        "first line",
        "# file: model.py\nimport os\ndef f(\n",
        issues=["TRUNCATED"],
        finish="length",
    ),
    "second file without opening fence": Case(
        f"```python path=model.py\n{CODE}```\n\n# file: utils.py\n{SECOND}```\n\nWords.\n",
        {"model.py": CODE, "utils.py": f"# file: utils.py\n{SECOND}"},
    ),
    "second file under a label without fence": Case(
        f"```python path=model.py\n{CODE}```\n\n**utils.py**\n\n{SECOND}```\n",
        {"model.py": CODE, "utils.py": SECOND},
    ),
    "second of three without opening fence": Case(
        f"```python path=model.py\n{CODE}```\n\n# file: utils.py\n{SECOND}```\n\n"
        "```python path=main.py\nx = 1\n```\n",
        {"model.py": CODE, "utils.py": f"# file: utils.py\n{SECOND}", "main.py": "x = 1\n"},
        outputs=(MODEL, UTILS, Output(path="main.py")),
    ),
    "nameless second file does not swallow the third": Case(
        f"```python path=model.py\n{CODE}```\n\n{SECOND}```\n\nWords.\n\n"
        "```python path=main.py\nx = 1\n```\n",
        {"model.py": CODE, "main.py": "x = 1\n"},
        ["unattributed", "MISSING"],
        (MODEL, UTILS, Output(path="main.py")),
    ),
    "two files without any fence": Case(
        f"# file: model.py\n{CODE}\n# file: utils.py\n{SECOND}",
        {"model.py": f"# file: model.py\n{CODE}", "utils.py": f"# file: utils.py\n{SECOND}"},
    ),
    "two files without any fence, the first broken": Case(
        f"# file: model.py\nimport os\ndef f(:\n# file: utils.py\n{SECOND}",
        {
            "model.py": "# file: model.py\nimport os\ndef f(:\n",
            "utils.py": f"# file: utils.py\n{SECOND}",
        },
        ["SYNTAX"],
    ),
    "two files without opening fences, the first broken": Case(
        f"# file: model.py\nimport os\ndef f(:\n# file: utils.py\n{SECOND}```\n",
        {
            "model.py": "# file: model.py\nimport os\ndef f(:\n",
            "utils.py": f"# file: utils.py\n{SECOND}",
        },
        ["SYNTAX"],
    ),
    "a label and a word are no file": Case(
        "# file: model.py\nSorry\n", issues=["MISSING"], outputs=(MODEL,)
    ),
    "prose that begins like code, cut": taken(
        f"import torch first:\n\n```python path=model.py\n{CODE}```\nThen",
        "info",
        finish="length",
    ),
    "a heading and prose are no file": taken(
        f"# model.py\n\nThis file has the net.\n\n```python path=model.py\n{CODE}```\n", "info"
    ),
    "nothing but code": taken(CODE, "sole output", outputs=(NET,)),
    "nothing but code, fences in a docstring": taken(DOCSTRING, "sole output", DOCSTRING),
    "nothing but code and a closing fence": taken(
        f"{CODE}```\nWords about it.\n", "sole output", outputs=(NET,)
    ),
    "nothing but code behind a torn fence": taken(f"python\n{CODE}```\n", "sole output"),
    "nothing but code without the symbols": Case("x = 1\n", issues=["MISSING"], outputs=(NET,)),
    "nothing but code for two files": Case(CODE, issues=["MISSING", "MISSING"]),
    "nothing but code, cut": taken(
        f"{CODE}\ndef f(",
        "sole output",
        f"{CODE}\ndef f(\n",
        issues=["TRUNCATED"],
        finish="length",
    ),
    "a word is no module": Case("Sorry\n", issues=["MISSING"], outputs=(MODEL,)),
    "empty reply": Case("", issues=["MISSING", "MISSING"]),
    "prose": Case("I cannot help with that.", issues=["MISSING"], outputs=(MODEL,)),
    "an import without end": taken(
        "```python path=model.py\n" + "import torch\n" * 50 + "import to",
        "info",
        "import torch\n" * 50 + "import to\n",
        issues=["degenerate", "TRUNCATED"],
        finish="degenerate",
    ),
    "an import without end and without fence": taken(
        "import torch\n" * 50,
        "sole output",
        "import torch\n" * 50,
        issues=["TRUNCATED"],
        finish="length",
    ),
    "degenerate behind a whole file": taken(
        f"```python path=model.py\n{CODE}```\n" + "Done.\n" * 50,
        "info",
        issues=["degenerate"],
        finish="degenerate",
    ),
    # -- several versions
    "the last version": taken(
        f"```python path=model.py\nclass Net: ...\n```\n```python path=model.py\n{CODE}```\n",
        "info",
        outputs=(NET,),
        issues=["superseded"],
    ),
    "the last version lacks a symbol": taken(
        f"```python path=model.py\n{CODE}```\n```python path=model.py\nx = 1\n```\n",
        "info",
        outputs=(NET,),
        issues=["superseded"],
    ),
    "the last version is broken": taken(
        f"```python path=model.py\n{CODE}```\n```python path=model.py\n1 +\n```\n",
        "info",
        issues=["superseded"],
    ),
    "no version has the symbols": taken(
        "```python path=model.py\nx = 1\n```\n```python path=model.py\ny = 1\n```\n"
        "```python path=model.py\n1 +\n```\n",
        "info",
        "y = 1\n",
        outputs=(NET,),
        issues=["superseded", "superseded", "SYMBOLS"],
    ),
    "no version parses": taken(
        "```python path=model.py\n1 +\n```\n```python path=model.py\n2 +\n```\n",
        "info",
        "2 +\n",
        issues=["superseded", "SYNTAX"],
    ),
    "fragments are not joined": taken(
        "```python path=model.py\ndef f(): ...\n```\n```python path=model.py\ndef g(): ...\n```\n",
        "info",
        "def g(): ...\n",
        outputs=(Output(path="model.py", symbols=("f", "g")),),
        issues=["superseded", "SYMBOLS"],
    ),
    "the last version is cut": taken(
        f"```python path=model.py\n{CODE}```\n```python path=model.py\nclass Net:\n",
        "info",
        issues=["TRUNCATED"],
        finish="length",
    ),
    "an example is no version": taken(
        f"```python path=model.py\n{CODE}```\nUse model.py like this:\n"
        "```python\nfrom model import Net\nnet = Net()\n```\n",
        "info",
        issues=["unattributed"],
    ),
    "an example with a function is no version": taken(
        f"```python path=model.py\n{CODE}```\nUse model.py like this:\n"
        "```python\ndef main(): ...\n```\n",
        "info",
        issues=["unattributed"],
    ),
    "a new version under a sentence": taken(
        f"```python path=model.py\nclass Net: ...\n```\nNow model.py is better:\n{FENCED}",
        "line above",
        issues=["superseded"],
    ),
    # -- content
    "syntax error": taken(
        "```python path=model.py\nx = 'a\n```\n", "info", "x = 'a\n", issues=["SYNTAX"]
    ),
    "missing symbol": taken(
        "```python path=model.py\nx = 1\n```\n",
        "info",
        "x = 1\n",
        outputs=(NET,),
        issues=["SYMBOLS"],
    ),
    "lazy placeholder": taken(
        f"```python path=model.py\n{CODE}# ... rest of the code\n```\n",
        "info",
        f"{CODE}# ... rest of the code\n",
        issues=["LAZY"],
    ),
    "an honest ellipsis": taken(
        "```python path=model.py\ndef f(x): ...\n```\n", "info", "def f(x): ...\n"
    ),
    "symbols of a file that is not Python": Case(
        "```yaml path=a.yaml\n# a: 1\nb: 2\n```\n",
        {"a.yaml": "# a: 1\nb: 2\n"},
        outputs=(Output(path="a.yaml", symbols=("x",)),),
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_a_reply_yields_its_files_and_issues(case: Case):
    found = extract_modules(case.reply, case.outputs, finish_reason=case.finish)

    assert {path: module.text for path, module in found.modules.items()} == case.files
    assert kinds(found) == case.issues
    if case.found_by:
        assert {module.found_by for module in found.modules.values()} == {case.found_by}
    assert all(module.path == path for path, module in found.modules.items())
    assert found.fatal is any(kind.isupper() for kind in case.issues)
    assert found.usable is not found.fatal


def test_modules_come_in_the_order_of_the_declaration():
    reply = f"```python path=utils.py\nx = 1\n```\n```python path=model.py\n{CODE}```\n"

    assert [*extract_modules(reply, (MODEL, UTILS)).modules] == ["model.py", "utils.py"]


PREVIOUS = "x = 1\n" * 20


@pytest.mark.parametrize(
    ("previous", "lines", "shrunk"),
    [
        pytest.param({"model.py": PREVIOUS}, 9, True, id="less than half"),
        pytest.param({"model.py": PREVIOUS}, 10, False, id="half"),
        pytest.param({"model.py": "x = 1\n" * 19}, 1, False, id="short before"),
        pytest.param({"utils.py": PREVIOUS}, 1, False, id="another file"),
        pytest.param(None, 1, False, id="nothing before"),
    ],
)
def test_notices_a_file_that_lost_its_body(previous, lines: int, *, shrunk: bool):
    reply = "```python path=model.py\n" + "y = 1\n" * lines + "```\n"

    found = extract_modules(reply, (MODEL,), previous=previous)

    assert kinds(found) == (["SHRUNK"] if shrunk else [])
    assert found.modules["model.py"].text == "y = 1\n" * lines


MESSAGES = {
    "missing": (
        "",
        "stop",
        [
            "model.py: no block of the reply is this file; "
            "send the whole file in a fence ```python path=model.py"
        ],
    ),
    "thinking": (
        "<think>hm",
        "length",
        [
            "model.py: the reply ended before its thoughts did; "
            "send the whole file in a fence ```python path=model.py"
        ],
    ),
    "empty": (
        "\n\n```python path=model.py\n```",
        "stop",
        [
            "model.py: the block at reply line 3 is empty; "
            "send the whole file in a fence ```python path=model.py"
        ],
    ),
    "undeclared": (
        "Hi\n```python path=net.py\nx\n```",
        "stop",
        [
            "reply line 2: net.py was not asked for; the files of this step are model.py",
            "model.py: no block of the reply is this file; the reply names net.py instead; "
            "send the whole file in a fence ```python path=model.py",
        ],
    ),
    "unsafe, without the absolute path": (
        "```python path=/root/secret/net.py\nx\n```",
        "stop",
        [
            "reply line 1: …/net.py points out of the workspace and is not written; "
            "use a plain relative path, here model.py",
            "model.py: no block of the reply is this file; the reply names …/net.py instead; "
            "send the whole file in a fence ```python path=model.py",
        ],
    ),
    "truncated, lines count through thoughts": (
        "<think>\na\n</think>\n```python path=model.py\nx = (",
        "length",
        [
            "model.py: the reply ended inside this file (it opens at reply line 4); "
            "send the whole file and close its fence"
        ],
    ),
    "superseded": (
        "```python path=model.py\nNet = 1\n```\n```python path=model.py\nNet = 2\n```",
        "stop",
        [
            "model.py: the version at reply line 1 was not taken, the one at reply line 4 was; "
            "send each file once"
        ],
    ),
    "syntax": (
        "```python path=model.py\nNet = 1\nx = (\n```",
        "stop",
        [
            "model.py: line 2: '(' was never closed, in `x = (`; "
            "send the whole file with this corrected"
        ],
    ),
    "symbols": (
        "```python path=model.py\nx = 1\n```",
        "stop",
        ["model.py: its top level does not define Net; add what is missing"],
    ),
    "lazy": (
        "```python path=model.py\nNet = 1\n# existing code here\n```",
        "stop",
        ["model.py: line 2: # existing code here stands for code; write the code itself"],
    ),
    "unattributed and degenerate": (
        "```python path=model.py\nNet = 1\n```\n```python\nx\n```",
        "degenerate",
        [
            "the reply repeated itself and was cut off; write every line once",
            "reply line 4: the block does not say which file it is; "
            "write the path into its fence, as in ```python path=model.py",
        ],
    ),
}


@pytest.mark.parametrize(
    ("reply", "finish", "messages"), [pytest.param(*m, id=name) for name, m in MESSAGES.items()]
)
def test_a_message_says_what_was_found_where_and_the_way_out(reply, finish, messages):
    found = extract_modules(reply, (NET,), finish_reason=finish)

    assert [issue.message for issue in found.issues] == messages


def test_says_how_much_a_file_shrank():
    found = extract_modules("x = 1\n", (MODEL,), previous={"model.py": PREVIOUS})

    assert [issue.message for issue in found.issues] == [
        "model.py: has 1 lines where the version before had 20; "
        "send the whole file, not only what changed"
    ]


WHOLE = "import os\n\n\ndef f():\n    return 1\n\n\ndef g():\n    return os\n"
F, G = "def f():\n    return 2\n", "def g():\n    return os.sep\n"
AMENDED = Output(path="model.py", symbols=("f", "g"), parts=True)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        pytest.param(f"```python path=model.py\n{F}```\n", WHOLE.replace("1", "2"), id="one"),
        pytest.param(f"```python\n{F}```\n", WHOLE.replace("1", "2"), id="without its path"),
        pytest.param(
            "```python path=model.py\ndef h():\n    return 3\n```\n",
            f"{WHOLE}\n\ndef h():\n    return 3\n",
            id="nothing but a new one",
        ),
        pytest.param(
            f"```python path=model.py\n{F}```\n\n```python path=model.py\n{G}```\n",
            WHOLE.replace("1", "2").replace("return os", "return os.sep"),
            id="each in a block of its own",
        ),
        pytest.param(
            f"```python path=model.py\nimport os\n\n{F}\n{G}```\n",
            f"import os\n\n{F}\n{G}",
            id="the whole file all the same",
        ),
    ],
)
def test_what_changes_goes_into_the_version_before(reply: str, text: str):
    found = extract_modules(reply, (AMENDED,), previous={"model.py": WHOLE})

    assert found.modules["model.py"].text == text
    assert found.issues == ()


EXAMPLE = (
    "Use `model.py` like this:\n\n```python\nfrom model import f\n\n\ndef demo():\n    f()\n```\n"
)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        pytest.param(F, WHOLE.replace("1", "2"), id="of a part"),
        pytest.param(WHOLE.replace("1", "2"), WHOLE.replace("1", "2"), id="of the whole file"),
    ],
)
def test_an_example_is_no_part(sent: str, text: str) -> None:
    found = extract_modules(
        f"```python path=model.py\n{sent}```\n\n{EXAMPLE}", (AMENDED,), previous={"model.py": WHOLE}
    )

    assert found.modules["model.py"].text == text
    assert [issue.kind for issue in found.issues] == [IssueKind.UNATTRIBUTED]


def test_what_only_a_sentence_names_is_a_part_where_nothing_else_is() -> None:
    reply = "Add this to `model.py`:\n\n```python\ndef h():\n    return 3\n```\n"

    found = extract_modules(reply, (AMENDED, UTILS), previous={"model.py": WHOLE})

    assert found.modules["model.py"].text == f"{WHOLE}\n\ndef h():\n    return 3\n"


def test_what_follows_the_file_anew_goes_into_that() -> None:
    anew = WHOLE.replace("1", "2").replace("return os", "return None")
    reply = f"```python path=model.py\n{anew}```\n\n```python path=model.py\n{G}```\n"

    found = extract_modules(reply, (AMENDED,), previous={"model.py": WHOLE})

    assert found.modules["model.py"].text == anew.replace("return None", "return os.sep")


def test_without_a_version_before_what_changes_is_all_there_is():
    found = extract_modules(f"```python path=model.py\n{F}```\n", (AMENDED,))

    assert found.modules["model.py"].text == F
    assert [issue.kind for issue in found.issues] == [IssueKind.SYMBOLS]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param("Done.", "; send each function that changes in a fence", id="missing"),
        pytest.param(
            "```python path=model.py\ndef f():\n    return (1\n\n\ndef g(:\n    pass\n```\n",
            "; send each function that changes with this corrected",
            id="does not parse",
        ),
    ],
)
def test_of_a_file_that_was_there_no_more_is_asked_than_what_changes(reply: str, words: str):
    def told(previous: dict[str, str]) -> str:
        (issue,) = extract_modules(reply, (AMENDED,), previous=previous).issues
        return issue.message

    assert words in told({"model.py": WHOLE})
    assert words.replace("each function that changes", "the whole file") in told({})


def test_of_another_file_the_whole_is_wanted():
    found = extract_modules(
        f"```python path=utils.py\n{F}```\n\n```python path=model.py\n{G}```\n",
        (AMENDED, Output(path="utils.py", symbols=("f", "g"))),
        previous={"model.py": WHOLE, "utils.py": WHOLE},
    )

    assert found.modules["utils.py"].text == F
    assert found.modules["model.py"].text == WHOLE.replace("return os", "return os.sep")


def test_an_issue_of_a_foreign_path_keeps_it_as_data():
    found = extract_modules("```python path=../x.py\ny\n```", (MODEL,))

    assert [(i.kind, i.path) for i in found.issues] == [
        (IssueKind.UNSAFE_PATH, "../x.py"),
        (IssueKind.MISSING, "model.py"),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param("```\n" * 50_000, id="closers only"),
        pytest.param("```py\nx(\n```\n" * 15_000, id="blocks that do not parse"),
        pytest.param("```python\n" * 20_000, id="openers only"),
        pytest.param("# file: model.py\n" * 12_000, id="markers only"),
        pytest.param("# file: model.py\nimport x\n(\n" * 8_000, id="unfenced torsos"),
        pytest.param("> " * 100_000 + "```", id="quotes"),
        pytest.param("`" * 200_000 + "x`", id="one long fence"),
        pytest.param("```python path=model.py\n'''\n" + "```\n" * 50_000, id="open string"),
        pytest.param("<think></think>" * 15_000, id="thoughts"),
        pytest.param("<think>" * 30_000, id="open thoughts"),
        pytest.param("```python model.py path=" + "a=" * 100_000, id="long info string"),
    ],
)
@pytest.mark.parametrize("outputs", [(MODEL,), (MODEL, UTILS)], ids=["one", "two"])
def test_an_adversarial_reply_ends(reply: str, outputs: tuple[Output, ...]):
    """Nothing is asserted on time; with quadratic work this would not end."""
    found = extract_modules(reply, outputs)

    assert found.modules.keys() <= {"model.py", "utils.py"}


@pytest.mark.parametrize("info", ["python path=model.py", "python"])
def test_a_first_line_that_is_only_the_path_is_no_code(info: str) -> None:
    """Seen from the embedded model; `model.py` parses, and is a NameError when it is run."""
    reply = f"```{info}\nmodel.py\n{CODE}```\n\n```python path=utils.py\nmodel.py\nx = 1\n```\n"
    found = extract_modules(reply, (MODEL, UTILS))
    assert found.modules["model.py"].text == CODE
    assert found.modules["utils.py"].text == "model.py\nx = 1\n"  # no label: another file's name
