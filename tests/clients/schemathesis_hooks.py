"""Values that schemathesis can't make up: cursors of the running gateway, entity tags, and passwords that few people use."""

import os

import schemathesis
from hypothesis import strategies as st

# A cursor that was made up is refused, and should be. Those of CURSORS are real ones.
schemathesis.openapi.format("gatepost-cursor", st.sampled_from(os.environ["CURSORS"].split()))
schemathesis.openapi.format("gatepost-tags", st.from_regex(r'\A("[0-9]{1,3}\.[A-Za-z0-9_-]{12}"|\*)\Z'))
schemathesis.openapi.format("gatepost-password", st.from_regex(r"\A[a-z]{3}[A-Za-z0-9 .-]{5,60}[0-9]{2}\Z"))
