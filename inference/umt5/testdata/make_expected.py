"""Fills in what the reference makes of every "text" in clean.json and tokens.json. See README.md."""

import html
import json
import pathlib
import sys

import ftfy  # 6.3.1
import regex
import tokenizers  # 0.21.4

here = pathlib.Path(__file__).parent


def update(name, fill):
    path = here / name
    cases = [dict(text=c["text"], **fill(c["text"])) for c in json.loads(path.read_text())]
    lines = ",\n".join(json.dumps(c) for c in cases)
    path.write_text("[\n" + lines + "\n]\n")
    print(name, len(cases))


def clean(text):
    fixed = ftfy.fix_text(text)
    basic = html.unescape(html.unescape(fixed)).strip()
    return {"fixed": fixed, "basic_clean": basic, "cleaned": regex.sub(r"\s+", " ", basic).strip()}


tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1])
update("clean.json", clean)
update("tokens.json", lambda text: {"ids": tokenizer.encode(text).ids})
