"""Values that schemathesis can't make up: cursors and numbers of the running gateway, entity tags, and uncommon passwords."""

import os
import re

import schemathesis
from hypothesis import strategies as st

CURSORS = os.environ["CURSORS"].split()
IDS = os.environ["IDS"].split()
PASSWORD = r"[a-z]{3}[A-Za-z0-9 .-]{5,60}[0-9]{2}"
LARGEST_ID = 2**53 - 1

schemathesis.openapi.format("gatepost-cursor", st.sampled_from(CURSORS))
schemathesis.openapi.format("gatepost-tags", st.from_regex(r'\A("[0-9]{1,3}\.[A-Za-z0-9_-]{12}"|\*)\Z'))
schemathesis.openapi.format("gatepost-password", st.from_regex(rf"\A{PASSWORD}\Z"))


@schemathesis.hook
def filter_case(context, case):
    """Leaves out valid requests with a value that no schema can tell from a valid one: a cursor that was made up, a common password."""
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return True
    cursor = (case.query or {}).get("cursor")
    password = case.body.get("password") if isinstance(case.body, dict) else None
    is_uncommon = not isinstance(password, str) or re.fullmatch(PASSWORD, password) and len(set(password)) > 7
    return cursor in (None, *CURSORS) and bool(is_uncommon)


@schemathesis.hook
def map_path_parameters(context, parameters):
    """Has every other request meet a credential that exists, or did."""
    number = (parameters or {}).get("id")
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= LARGEST_ID and number % 2 == 0:
        parameters["id"] = int(IDS[number // 2 % len(IDS)])
    return parameters
