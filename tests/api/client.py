"""A client that was generated from /openapi.json, as a backend in Python would use it. URL and SECRET name the node."""

import os

from signaling_client import AuthenticatedClient, Client
from signaling_client.api.calls import get_call, ring_call
from signaling_client.api.transitions import report_call_ended
from signaling_client.api.users import disconnect_user, is_online, who_is_online
from signaling_client.models import CallState, Code, Ending, EndedRequest, InitiateRequest, OnlineManyRequest

call_id = "CALL_TYPED_2"
ring = InitiateRequest(
    call_id=call_id, caller_id="USR_1", receiver_id="USR_2", call_type="AUDIO", channel_name="c", agora_token="t"
)

stranger = ring_call.sync(client=Client(base_url=os.environ["URL"]), body=ring)
assert stranger.code == Code.UNAUTHORIZED, stranger

client = AuthenticatedClient(
    base_url=os.environ["URL"], token=os.environ["SECRET"], prefix="", auth_header_name="x-internal-secret"
)
rung = ring_call.sync(client=client, body=ring)
assert rung.use_fcm_fallback and not rung.success, rung

call = get_call.sync(call_id, client=client)
assert call.state == CallState.TRYING and any(entry.what == "created" for entry in call.timeline), call
assert report_call_ended.sync(client=client, body=EndedRequest(call_id=call_id, ended_by="USR_1")).success
assert get_call.sync(call_id, client=client).reason == Ending.HUNG_UP

assert who_is_online.sync(client=client, body=OnlineManyRequest(user_ids=["USR_1"])).users["USR_1"] is False
assert is_online.sync("USR_1", client=client).is_online is False
assert disconnect_user.sync("USR_1", client=client).disconnected == 0
