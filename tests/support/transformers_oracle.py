"""Renders chat templates with transformers itself: JSON in, JSON out.

It runs in an environment of its own, and imports nothing of ours.

In: {"now": seconds since 1970, "templates": {name: source}, "cases": [{"template": name, ...arguments}]}.
Out: {"variables": {name: [variable, ...]}, "texts": [{"text": ...} or {"error": ...}, ...]}.
"""

import json
import sys
from datetime import UTC, datetime

from transformers.utils import chat_template_utils

asked = json.load(sys.stdin)


class Stopped(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.fromtimestamp(asked["now"], UTC)


chat_template_utils.datetime = Stopped


def rendered(case):
    source = asked["templates"][case.pop("template")]
    try:
        ((text,), _) = chat_template_utils.render_jinja_template(chat_template=source, **case)
    except Exception as error:  # noqa: BLE001 - whatever a template raises
        return {"error": f"{type(error).__name__}: {error}"}
    return {"text": text}


variables = {
    name: sorted(chat_template_utils._get_template_variables(source))
    for name, source in asked["templates"].items()
}
json.dump({"variables": variables, "texts": [rendered(case) for case in asked["cases"]]}, sys.stdout)
