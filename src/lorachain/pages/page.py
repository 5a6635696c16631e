"""One offline HTML file from a template: style and script inside, and nothing else may run.

The content security policy allows the page's own style and script by their hashes and no network
at all. Data goes into the page as JSON that cannot end its element.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

HEAT_LEVELS = 20  # of a cell's colour: levels, because the policy forbids style attributes

_SURROGATE = re.compile("[\ud800-\udfff]")  # cannot be written as UTF-8
_IN_SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render_page(
    package: str, template: str, *, styles: Sequence[str], scripts: Sequence[str], **data: Any
) -> str:
    """A template with its style sheets and scripts put in.

    Templates are those of `package` (in its folder `templates`) and the shared ones beside this
    file: `shell.html.j2` to extend, `page.css.j2`, `theme.js`. Whatever stands in `data` is
    escaped, except markup of our own making.
    """
    from markupsafe import Markup

    environment = _environment(package)
    style = "".join(environment.get_template(name).render() for name in styles)
    style += _heat_levels()
    script = "".join(_source(environment, name) for name in scripts)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    text = environment.get_template(template).render(
        policy=policy, style=Markup(style), script=Markup(script), **data
    )
    return _SURROGATE.sub("\ufffd", text)


def script_json(value: Any) -> Any:
    """JSON for a `<script type="application/json">`: no `<` in it, so no text can end it."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_IN_SCRIPT))


@cache
def _environment(package: str) -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["zip"] = zip
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    text = environment.loader.get_source(environment, name)[0]
    return text.replace("\r\n", "\n")  # a browser hashes what it parsed, and that has no \r


def _heat_levels() -> str:
    step = 100 // HEAT_LEVELS
    return "".join(f".h{i}{{--share:{i * step}%}}" for i in range(HEAT_LEVELS + 1))


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
